"""Queries read many documents for each that they return: an index is missing, however fast they still are."""

from collections.abc import Iterable, Sequence

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.profile import Profiled, kinds_of, read_profile
from worker.operate.doctor.setup import Setup

_MOST = 10
# A few hundred documents lie in memory; a page of results may be filtered from ten times as many.
_EXAMINED, _PER_RETURNED = 1_000, 100.0


def decide(entries: Iterable[Profiled]) -> Sequence[Seen]:
    """Sums read everything on purpose."""
    scanning = [
        entry
        for entry in entries
        if not entry.sums
        and entry.examined >= _EXAMINED
        and entry.examined >= _PER_RETURNED * max(1, entry.returned)
    ]
    return [
        Seen(
            kind.namespace,
            kind.words,
            f"An index would serve {kind.query}: db.{kind.namespace.partition('.')[2]}.createIndex({kind.index})."
            if kind.index is not None
            else f"No index serves {kind.query} as it is written: ask by fields, or look at its explain().",
        )
        for kind in kinds_of(scanning)[:_MOST]
    ]


async def look(setup: Setup) -> Sequence[Seen]:
    since = setup.clock.now() - setup.limits.slow_within
    return decide(await read_profile(setup.database, since))


SCANNING_QUERIES = Finding(
    name="scanning_queries",
    severity=Severity.ADVICE,
    needs=MONGODB,
    means="Queries examine a hundred documents or more for each that they return: they get slower with the store.",
    fix="Make the index that is named.",
    look=look,
)
