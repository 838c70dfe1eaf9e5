"""The core: interfaces, registry, configuration, pipeline, training and evaluation."""
