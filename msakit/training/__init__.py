"""Training of a pipeline."""
