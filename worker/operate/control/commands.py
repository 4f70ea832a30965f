"""Pausing, resuming and setting, as commands do it: one document each, which every worker sees within seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.operate.control.controls import VALUE, Controls, controls_of
from worker.operate.control.limits import Knob
from worker.operate.control.targets import Known, Target
from worker.storage.control_documents import put_control, read_controls, remove_control
from worker.storage.database import Database
from worker.storage.updating import update_each
from worker.storage.work_items import fold_item_id


@dataclass(frozen=True, slots=True)
class Asked:
    """Who wants it, in which environment, why, and until when: a time, so many seconds from now, or without end."""

    environment: str
    who: str
    reason: str
    until: datetime | float | None = None

    @property
    def said(self) -> Mapping[str, Any]:
        return {"who": self.who, "reason": self.reason}


async def in_force(database: Database, environment: str, known: Known) -> Controls:
    """What is paused and set at this moment, and what is ignored."""
    return controls_of(await read_controls(database, environment), known)


async def pause(database: Database, target: Target, asked: Asked) -> bool:
    """Pause it, or say anew why and until when; True if it was not paused before."""
    return await put_control(database, asked.environment, target.key, asked.said, until=asked.until)


async def resume(database: Database, target: Target, environment: str) -> bool:
    """End a pause; False where there was none. What waits for a stream is due at once."""
    was_paused = await remove_control(database, environment, target.key)
    if target.kind == "stream":
        await _wake(database, target.name)
    return was_paused


async def set_value(database: Database, knob: Knob, value: Any, asked: Asked) -> bool:
    """Set it, or set it anew; True if it was not set before."""
    said = {VALUE: value, **asked.said}
    return await put_control(database, asked.environment, knob.key, said, until=asked.until)


async def unset(database: Database, knob: Knob, environment: str) -> bool:
    """Let the setting of the process hold again; False where nothing was set."""
    return await remove_control(database, environment, knob.key)


async def _wake(database: Database, stream: str) -> None:
    """Have the role `retry` fold a stream at once: without, it would look again within some seconds."""
    items = [fold_item_id(stream, each.name) for each in database.catalogue.streams if each.folds(stream)]
    waiting = {"_id": {"$in": items}, "status": "pending"}
    await update_each(database.analytics_queue, waiting, [{"$set": {"due_at": "$$NOW"}}])
