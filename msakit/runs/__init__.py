"""The run directory: who writes it, what is read back from it."""
