"""What `schema check` says, sorted by what mends it: findings about collections share this."""

from collections.abc import Callable, Sequence

from worker.operate.doctor.finding import Look, Seen
from worker.operate.doctor.setup import Setup
from worker.storage.differences import Difference

_ABSENT = "absent"


def is_duration(difference: Difference) -> bool:
    """Whether only for how long something is kept differs."""
    return difference.expected.startswith("kept ")


def is_index(difference: Difference) -> bool:
    return difference.what.startswith("index ") and not is_duration(difference)


def is_absent(difference: Difference) -> bool:
    return difference.found == _ABSENT


def looking_for(is_ours: Callable[[Difference], bool]) -> Look:
    """Looks for the differences of one kind."""

    async def look(setup: Setup) -> Sequence[Seen]:
        found = await setup.mongodb.differences()
        return [_seen(difference) for difference in found if is_ours(difference)]

    return look


def _seen(difference: Difference) -> Seen:
    words = f"{difference.what}: expected {difference.expected}, found {difference.found}"
    return Seen(difference.collection, words)
