"""Workers are told different things about who keeps the courses, or the users: some of them make no documents."""

from collections.abc import Sequence, Set

from projections.catalogue import SHARED
from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.settings import variable
from worker.storage.worker_models import Worker
from worker.words import counted

# Of more workers than this the number tells.
_NAMED = 3


def decide(owned: Set[str], workers: Sequence[Worker]) -> Sequence[Seen]:
    """`owned` is what the settings of this command say; a worker of the release before says nothing."""
    telling = [each for each in workers if each.owned is not None]
    found: list[Seen] = []
    for collection in sorted(SHARED):
        wanted = collection in owned
        others = [each for each in telling if (collection in each.owned) != wanted]
        if others:
            owner = variable(f"{collection}_owner")
            words = f"{owner} is {_owner(not wanted)} for {_named(others)}, and {_owner(wanted)} here"
            agreeing = len(telling) - len(others)
            also = f" and for {counted(agreeing, 'other worker')}" if agreeing else ""
            found.append(Seen(collection, f"{words}{also}"))
    return found


def _owner(is_ours: bool) -> str:
    return "worker" if is_ours else "external"


def _named(workers: Sequence[Worker]) -> str:
    names = [each.id.rpartition(":")[0] or each.id for each in workers]
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


async def look(setup: Setup) -> Sequence[Seen]:
    return decide(setup.settings.ownership.owned, await setup.mongodb.workers())


OWNERS_DIFFER = Finding(
    name="owners_differ",
    severity=Severity.ERROR,
    needs=MONGODB,
    means="Workers, or this command, are told different things about who keeps courses or users: some of them leave "
    "their documents alone.",
    fix="Set SEVENP_COURSES_OWNER and SEVENP_USERS_OWNER to the same for all workers and commands, and restart those "
    "that differ (docs/adopting.md).",
    look=look,
)
