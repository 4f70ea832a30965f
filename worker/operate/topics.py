"""How a topic is to be, how it is, and what follows: decided from values alone.

A topic may always have more than is wanted. Nothing here ever takes anything away: partitions, copies and retention
only grow, and what could make Kafka delete records is left to people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from worker.settings import TopicSettings
from worker.words import counted

_DAY_MS: Final = 24 * 3_600 * 1_000
_FOR_EVER: Final = -1
_LONGEST_MS: Final = 10**15  # what a span of time can hold; far more than anybody's retention
_RETENTION, _RETENTION_BYTES, _CLEANUP = "retention.ms", "retention.bytes", "cleanup.policy"
_DELETE: Final = "delete"


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as the brokers tell it; `copies` are those of its least copied partition.

    `configuration` holds its settings by Kafka's names, None where the broker does not describe them.
    """

    partitions: int
    copies: int
    configuration: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class TopicDifference:
    """Something that is not as it is to be. `fix` says what mends it: `topic apply`, or what people must do."""

    topic: str
    what: str
    expected: str
    found: str
    fix: str

    @property
    def mended_by_apply(self) -> bool:
        return self.fix == APPLY


APPLY: Final = "topic apply"


@dataclass(frozen=True, slots=True)
class TopicChange:
    """What `topic apply` does to one topic: makes it, gives it more partitions in all, sets some of its settings."""

    topic: str
    create: bool = False
    partitions: int | None = None
    configuration: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """What is done, for people."""
        if self.create:
            made = [f"{name}={value}" for name, value in self.configuration.items()]
            return [f"created with {counted(self.partitions or 0, 'partition')}, {', '.join(made)}"]
        added = [] if self.partitions is None else [f"extended to {counted(self.partitions, 'partition')}"]
        return added + [f"{name} set to {value}" for name, value in self.configuration.items()]


def differences(topic: str, wanted: TopicSettings, found: FoundTopic | None) -> list[TopicDifference]:
    """What is not as it is to be; nothing is said of what the broker does not describe."""
    if found is None:
        there = counted(wanted.partitions, "partition")
        return [TopicDifference(topic, "topic", there, "absent", APPLY)]
    told: list[TopicDifference] = []
    if found.partitions < wanted.partitions:
        expected = f"at least {wanted.partitions}"
        told.append(TopicDifference(topic, "partitions", expected, str(found.partitions), APPLY))
    if found.copies < wanted.replication:
        fix = "kafka-reassign-partitions.sh gives a partition more copies; SEVENP_TOPIC_REPLICATION says how many"
        expected = f"at least {wanted.replication} copies"
        told.append(TopicDifference(topic, "replication", expected, str(found.copies), fix))
    return told + (_of_configuration(topic, wanted, found.configuration) if found.configuration else [])


def _of_configuration(
    topic: str, wanted: TopicSettings, configuration: Mapping[str, str]
) -> list[TopicDifference]:
    told: list[TopicDifference] = []
    kept_ms = _number(configuration.get(_RETENTION))
    if kept_ms is not None and kept_ms != _FOR_EVER and kept_ms < wanted.retention_ms:
        expected = f"at least {in_days(wanted.retention_ms)}"
        told.append(TopicDifference(topic, _RETENTION, expected, in_days(kept_ms), APPLY))
    kept_bytes = _number(configuration.get(_RETENTION_BYTES))
    if kept_bytes is not None and kept_bytes != _FOR_EVER:
        told.append(TopicDifference(topic, _RETENTION_BYTES, "no bound", str(kept_bytes), APPLY))
    policy = configuration.get(_CLEANUP)
    if policy is not None and policy != _DELETE:
        fix = (
            f"kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {_CLEANUP}={_DELETE}: "
            "compaction loses events, and without it Kafka deletes at once what is older than the retention"
        )
        told.append(TopicDifference(topic, _CLEANUP, _DELETE, policy, fix))
    return told


def kept_for(found: FoundTopic) -> timedelta | None:
    """For how long records are kept; None for ever, or where the broker does not tell."""
    kept_ms = _number((found.configuration or {}).get(_RETENTION))
    return (
        None if kept_ms is None or kept_ms == _FOR_EVER else timedelta(milliseconds=min(kept_ms, _LONGEST_MS))
    )


def change_for(topic: str, wanted: TopicSettings, found: Sequence[TopicDifference]) -> TopicChange | None:
    """What `topic apply` does about the differences of one topic; None where it can do nothing."""
    values = {_RETENTION: str(wanted.retention_ms), _RETENTION_BYTES: str(_FOR_EVER)}
    mended = {each.what for each in found if each.mended_by_apply}
    if "topic" in mended:
        return TopicChange(topic, True, wanted.partitions, {**values, _CLEANUP: _DELETE})
    partitions = wanted.partitions if "partitions" in mended else None
    configuration = {name: value for name, value in values.items() if name in mended}
    return TopicChange(topic, False, partitions, configuration) if mended else None


def in_days(milliseconds: int) -> str:
    """For people: `7 days`, `for ever`."""
    if milliseconds == _FOR_EVER:
        return "for ever"
    days = milliseconds / _DAY_MS
    return f"{days:g} day{'' if days == 1 else 's'}"


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
