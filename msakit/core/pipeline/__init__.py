"""A pipeline: its file, what it resolves to, and the modules that answer."""
