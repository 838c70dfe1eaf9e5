"""Pretrained causal language models as backbones. Importing this package imports no torch."""
