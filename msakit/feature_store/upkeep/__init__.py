"""Care of a store: validation, copying, compaction, descriptions."""
