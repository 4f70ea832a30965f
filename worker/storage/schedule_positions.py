"""How far each entry of the schedule has come: what was handled is neither started nor counted again.

A position is moved from what was read, so that of two schedulers one moves it. It is moved behind the run: a
scheduler that dies meanwhile leaves a firing that is due, whose run goes on.
"""

from dataclasses import dataclass
from datetime import datetime

from pymongo.errors import DuplicateKeyError

from worker.errors import Refused
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.job_models import SchedulePosition


@dataclass(frozen=True, slots=True)
class Position:
    """Everything up to `handled_until` was run or dropped.

    From `busy_from` to `busy_until` the entry's last run went on, or its next one could not begin: what came due
    meanwhile had to wait.
    """

    handled_until: datetime
    busy_from: datetime | None = None
    busy_until: datetime | None = None

    def was_busy_at(self, moment: datetime) -> bool:
        """Whether something stood in the way of a firing of this moment."""
        if self.busy_from is None or self.busy_until is None:
            return False
        return self.busy_from < moment <= self.busy_until

    @property
    def document(self) -> Document:
        return {
            "handled_until": self.handled_until,
            "busy_from": self.busy_from,
            "busy_until": self.busy_until,
        }


async def read_or_begin(database: Database, entry: str, now: datetime) -> Position:
    """The position of an entry; one that nobody ever saw begins now. Refused for one that makes no sense."""
    found = await reading.find(database.schedule_positions, {"_id": entry})
    taken = found.through(_position)
    for each in taken.unreadable:
        raise Refused(
            f"the position of entry {each.name} cannot be read ({each.reason}): delete it from schedule_positions, "
            "and the entry begins anew"
        )
    if taken.values:
        return taken.values[0]
    begun = Position(now)
    try:
        with translated():
            await database.schedule_positions.insert_one({"_id": entry, **begun.document})
    except DuplicateKeyError:  # by another scheduler
        return await read_or_begin(database, entry, now)
    return begun


async def move(database: Database, entry: str, read: Position, to: Position) -> bool:
    """Move it from what was read; False where somebody did meanwhile, if only we ourselves, whose answer was lost."""
    with translated():
        moved = await database.schedule_positions.update_one(
            {"_id": entry, **read.document}, {"$set": to.document}
        )
    return moved.matched_count == 1


def _position(document: Document) -> Position:
    stored = SchedulePosition.model_validate(document)
    return Position(stored.handled_until, stored.busy_from, stored.busy_until)
