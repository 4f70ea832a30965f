"""Queries of the last hour took longer than a second."""

from collections.abc import Iterable, Sequence

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.profile import Profiled, QueryKind, kinds_of, read_profile
from worker.operate.doctor.setup import Setup

# What took most time together; the rest follows when these are mended.
_MOST = 10
# Of a query that reads so much more than it returns an index is missing; of any other the server was busy.
_TOO_MUCH = 10.0


def decide(entries: Iterable[Profiled], slow_ms: int) -> Sequence[Seen]:
    slow = [entry for entry in entries if entry.millis >= slow_ms]
    return [Seen(kind.namespace, kind.words, _advice(kind)) for kind in kinds_of(slow)[:_MOST]]


def _advice(kind: QueryKind) -> str:
    collection = kind.namespace.partition(".")[2]
    if kind.index is not None and kind.examined_per_returned >= _TOO_MUCH:
        return f"An index would serve {kind.query}: db.{collection}.createIndex({kind.index})."
    return f"Look at the plan of {kind.query} (explain), and at what else the server did at that time."


async def look(setup: Setup) -> Sequence[Seen]:
    since = setup.clock.now() - setup.limits.slow_within
    return decide(await read_profile(setup.database, since), setup.limits.slow_ms)


SLOW_QUERIES = Finding(
    name="slow_queries",
    severity=Severity.WARNING,
    needs=MONGODB,
    means="Queries of the last hour took a second or more, as the profiler has recorded them.",
    fix="Make the index that is named, or look at the query's plan with explain().",
    look=look,
)
