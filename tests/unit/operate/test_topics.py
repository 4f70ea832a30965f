"""What a topic lacks, and what `topic apply` makes of it: it only ever gives."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.operate.topics import APPLY, FoundTopic, change_for, differences
from worker.settings import TopicSettings

DAY_MS = 86_400_000
WANTED = TopicSettings(partitions=8, replication=2, retention_days=10)
AS_WANTED = {
    "retention.ms": str(10 * DAY_MS),
    "retention.bytes": "-1",
    "cleanup.policy": "delete",
}


def found(
    partitions: int = 8, copies: int = 2, configuration: Mapping[str, str] | None = None, **changes: str
) -> FoundTopic:
    names = {name.replace("_", "."): value for name, value in changes.items()}
    return FoundTopic(partitions, copies, {**AS_WANTED, **names} if configuration is None else configuration)


def whats(topic: FoundTopic | None) -> dict[str, tuple[str, str]]:
    return {each.what: (each.expected, each.found) for each in differences("t", WANTED, topic)}


def test_what_is_as_wanted_or_more_than_that_is_no_difference() -> None:
    assert whats(found()) == {}
    assert whats(found(partitions=100, copies=3, retention_ms=str(400 * DAY_MS))) == {}
    assert whats(found(retention_ms="-1")) == {}


def test_every_difference_is_named_with_what_is_and_what_is_to_be() -> None:
    few = found(1, 1, retention_ms=str(DAY_MS), retention_bytes="1024", cleanup_policy="compact,delete")

    assert whats(few) == {
        "partitions": ("at least 8", "1"),
        "replication": ("at least 2 copies", "1"),
        "retention.ms": ("at least 10 days", "1 day"),
        "retention.bytes": ("no bound", "1024"),
        "cleanup.policy": ("delete", "compact,delete"),
    }
    assert whats(None) == {"topic": ("8 partitions", "absent")}


@pytest.mark.parametrize("configuration", [{}, {"retention.ms": "soon"}, {"cleanup.policy": "delete"}])
def test_of_what_the_broker_does_not_say_nothing_is_said(configuration: dict[str, str]) -> None:
    assert whats(found(configuration=configuration)) == {}
    assert whats(FoundTopic(8, 2, None)) == {}


def test_an_absent_topic_is_made_whole() -> None:
    change = change_for("t", WANTED, differences("t", WANTED, None))

    assert change is not None
    assert (change.create, change.partitions, change.configuration) == (True, 8, AS_WANTED)
    assert change.words == [
        "created with 8 partitions, retention.ms=864000000, retention.bytes=-1, cleanup.policy=delete"
    ]


def test_copies_and_cleanup_policy_are_left_to_people_with_the_command() -> None:
    told = differences("t", WANTED, found(copies=1, cleanup_policy="compact"))

    assert [each.fix.split()[0] for each in told] == ["kafka-reassign-partitions.sh", "kafka-configs.sh"]
    assert change_for("t", WANTED, told) is None


@given(
    partitions=st.integers(1, 50),
    copies=st.integers(1, 5),
    kept=st.integers(-1, 100 * DAY_MS),
    kept_bytes=st.integers(-1, 10**12),
    policy=st.sampled_from(["delete", "compact", "compact,delete"]),
)
def test_whatever_is_found_nothing_shrinks_and_what_is_mended_differs_no_more(
    partitions: int, copies: int, kept: int, kept_bytes: int, policy: str
) -> None:
    before = found(
        partitions, copies, retention_ms=str(kept), retention_bytes=str(kept_bytes), cleanup_policy=policy
    )
    told = differences("t", WANTED, before)
    change = change_for("t", WANTED, told)
    assert (change is None) == (not any(each.fix == APPLY for each in told))
    if change is None:
        return

    assert not change.create
    assert change.partitions is None or change.partitions > partitions
    after = {**(before.configuration or {}), **change.configuration}
    assert after["cleanup.policy"] == policy
    for name in ("retention.ms", "retention.bytes"):
        was, now = int((before.configuration or {})[name]), int(after[name])
        assert now == -1 or (was != -1 and now >= was)
    left = differences("t", WANTED, FoundTopic(change.partitions or partitions, copies, after))
    assert left == [each for each in told if each.fix != APPLY]
