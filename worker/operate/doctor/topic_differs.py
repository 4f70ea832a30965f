"""A topic that the worker reads is not as the settings want it: `topic check` says the same."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from worker.errors import Refused
from worker.kafka.cluster import Copies
from worker.operate.asking import NotTold
from worker.operate.doctor.finding import KAFKA, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.operate.topics import FoundTopic, TopicDifference, differences, kept_for

# What another finding says of every topic on which `topic check` says it, and more gravely.
_SAID_ELSEWHERE = frozenset({"topic", "retention.bytes", "cleanup.policy"})


def decide(
    told: Sequence[TopicDifference], kept: timedelta | None, longest_outage: timedelta
) -> Sequence[Seen]:
    """`kept` is for how long records are kept, None for ever, or where nobody knows.

    What is below the longest outage is `short_retention`.
    """
    elsewhere = _SAID_ELSEWHERE
    if kept is not None and kept < longest_outage:
        elsewhere |= {"retention.ms"}
    return [
        Seen(
            each.topic,
            f"{each.what} is {each.found}, and the settings want {each.expected}",
            f"Run `sevenp-worker {each.fix}`." if each.mended_by_apply else f"{each.fix}.",
        )
        for each in told
        if each.what not in elsewhere
    ]


async def look(setup: Setup) -> Sequence[Seen]:
    topics, wanted = (await setup.kafka.state()).topics, setup.settings.topics
    found: list[Seen] = []
    for topic in await setup.kafka.present():
        there = _found(topics[topic], await _configuration(setup, topic))
        told = differences(topic, wanted, there)
        found += decide(told, kept_for(there), setup.limits.longest_outage)
    return found


def _found(partitions: Mapping[int, Copies], configuration: Mapping[str, str]) -> FoundTopic:
    return FoundTopic(
        len(partitions), min(len(each.all) for each in partitions.values()), configuration or None
    )


async def _configuration(setup: Setup, topic: str) -> Mapping[str, str]:
    """What the broker tells of the topic's settings: nothing, where it does not know the question."""
    try:
        return await setup.kafka.configuration(topic)
    except (Refused, NotTold):
        return {}


TOPIC_DIFFERS = Finding(
    name="topic_differs",
    severity=Severity.ADVICE,
    needs=KAFKA,
    means="A topic has fewer partitions or copies, or keeps records for less long, than the settings want.",
    fix="Run `sevenp-worker topic apply`, or change SEVENP_TOPIC_PARTITIONS and its like; `topic check` looks.",
    look=look,
)
