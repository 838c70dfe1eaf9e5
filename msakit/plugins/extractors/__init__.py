"""Extractors: media to feature sequences, offline."""
