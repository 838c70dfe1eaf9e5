"""Every name that can be used: what is registered, where, and by which plugin."""
