"""Events that producers publish again: some as they were, and some with a contradiction."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from worker.devstack.simulator.spelling import rfc_3339

DUPLICATE_SHARE = 0.02  # of a run of fifty events one
CONFLICT_SHARE = 0.001  # of a run of a thousand events one
MOST_SECONDS_TO_REPEAT = 7_200  # a producer repeats what it believes lost within two hours
MOST_MINUTES_EARLIER = 600  # a contradiction claims that it was up to ten hours earlier


@dataclass(frozen=True, slots=True)
class Repeat:
    """The event at `place` once more, published `delay` after it; one that `contradicts` has other `fields`."""

    place: int
    fields: Mapping[str, Any]
    delay: timedelta
    contradicts: bool


def repeats(
    random: Random, events: Sequence[Mapping[str, Any]], duplicates: int, conflicts: int
) -> Iterator[Repeat]:
    """So many of each, of different events; a contradiction claims that its event happened earlier."""
    for number, place in enumerate(random.sample(range(len(events)), duplicates + conflicts)):
        fields, contradicts = events[place], number >= duplicates
        if contradicts:
            earlier = timedelta(minutes=random.randint(1, MOST_MINUTES_EARLIER))
            moved = datetime.fromisoformat(fields["occurred_at"]) - earlier
            fields = {**fields, "occurred_at": rfc_3339(moved)}
        delay = timedelta(seconds=random.uniform(1, MOST_SECONDS_TO_REPEAT))
        yield Repeat(place, fields, delay, contradicts)
