"""Predictions of a pipeline on a split, with modalities taken away where asked."""
