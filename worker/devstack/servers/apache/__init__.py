"""A real Apache Kafka from Maven's artifacts: what only a broker with files, replicas and transactions can show."""
