"""A stored dataset as a pipeline needs it, and the order in which it is visited."""
