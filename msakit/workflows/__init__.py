"""Commands as functions: train, load, evaluate, predict."""
