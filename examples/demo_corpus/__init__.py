"""Generator of the demo corpus: human-rated text, constructed voice and face."""
