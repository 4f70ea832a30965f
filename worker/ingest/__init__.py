"""Kafka to event store, time series and dead letters, exactly once."""
