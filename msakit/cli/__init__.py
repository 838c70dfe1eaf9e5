"""The command line: one small file a command; heavy libraries are imported when a command needs them."""
