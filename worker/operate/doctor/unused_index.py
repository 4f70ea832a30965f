"""An index that the code does not declare has not been used for weeks: each write pays for it."""

from collections.abc import Iterable, Sequence, Set
from datetime import datetime, timedelta

from worker.operate.capacity.index_uses import IndexUse
from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.operate.doctor.spans import in_words


def decide(
    uses: Iterable[IndexUse], declared: Set[tuple[str, str]], now: datetime, unused_for: timedelta
) -> Sequence[Seen]:
    """Unique indexes are promises, and others forget what has expired: those are used without a query."""
    return [
        Seen(
            use.collection,
            f"the index {use.name} has not been used for {in_words(now - use.since)}, as long as it is counted",
            f'Hide it, and drop it if nobody misses it: db.{use.collection}.hideIndex("{use.name}").',
        )
        for use in uses
        if not use.uses
        and now - use.since >= unused_for
        and use.name != "_id_"
        and (use.collection, use.name) not in declared
        and not use.definition.get("unique")
        and "expireAfterSeconds" not in use.definition
    ]


async def look(setup: Setup) -> Sequence[Seen]:
    declared = {(index.collection, index.name) for each in setup.mongodb.wanted for index in each.indexes}
    uses = await setup.mongodb.index_uses()
    return decide(uses, declared, setup.clock.now(), setup.limits.unused_for)


UNUSED_INDEX = Finding(
    name="unused_index",
    severity=Severity.ADVICE,
    needs=MONGODB,
    means="An index that the code does not declare has not been used for five weeks, and each write pays for it.",
    fix="Hide it, and drop it if nobody misses it; secondaries count the uses of their own readers.",
    look=look,
)
