"""Topics: what `topic apply` makes of those the worker reads, and `topic check` holds them against."""

from pydantic import Field

from worker.settings.group import Group

_DAY_MS = 24 * 3_600 * 1_000


class TopicSettings(Group, alias_generator="topic_{}".format):
    """How the worker's topics are to be. More than that is never wrong."""

    partitions: int = Field(16, ge=1, le=10_000)
    """Partitions of a topic, at least: as many workers can read it. `topic apply` adds what is missing."""
    replication: int = Field(3, ge=1, le=100)
    """Copies of each partition on brokers of their own, at least, as `topic apply` makes them."""
    retention_days: int = Field(30, ge=1, le=36_500)
    """How long Kafka keeps a record, at least. Longer than MongoDB's oldest backup you would restore."""

    @property
    def retention_ms(self) -> int:
        return self.retention_days * _DAY_MS
