"""Files of the store: journals, shards, tables, the index."""
