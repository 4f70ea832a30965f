"""Everything that speaks to Kafka: a consumer that loses no readable record, a producer, files, metadata, security."""
