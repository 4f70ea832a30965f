"""Everything that speaks to Kafka: consumer, corrupt batches, producer, files, security."""
