"""The built-in components, one folder a paper."""
