"""Server processes for tests and the demo: MongoDB, Kafka-protocol brokers, the worker itself."""
