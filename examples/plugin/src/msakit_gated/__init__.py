"""Gated multimodal units for msakit."""
