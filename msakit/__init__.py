"""msakit: teach a large language model to hear and see."""

__version__ = "0.1.0"
