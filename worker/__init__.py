"""The 7P stream worker: Kafka learner events to MongoDB documents, exactly once."""

__version__ = "0.1.0"
