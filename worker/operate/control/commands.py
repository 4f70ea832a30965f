"""Pausing, resuming and setting, as commands do it: one document each, which every worker sees within seconds.

A command reads what it has written by the rule by which the workers read it: nobody is told of a pause that is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from worker.errors import Refused
from worker.operate.control.controls import VALUE, Controls, Said, Setting, controls_of
from worker.operate.control.limits import Knob
from worker.operate.control.targets import Known, Target, names_of
from worker.storage.control_documents import put_control, read_control, read_controls, remove_control
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


@dataclass(frozen=True, slots=True)
class Before:
    """What was in force before a command: who had said it, and the value if something was set.

    Both are empty for a document that meant nothing.
    """

    said: Said
    value: Any = None


async def in_force(database: Database, environment: str, known: Known) -> Controls:
    """What is paused and set at this moment, and what is ignored."""
    return controls_of(await read_controls(database, environment, names_of(known)), known)


async def paused(database: Database, environment: str, target: Target) -> Said | None:
    """Who has paused it and why, as the workers read it; None where it is not paused."""
    found = await _of(database, environment, target.key, target.name)
    return found.pauses[0].said if found.pauses else None


async def pause(database: Database, target: Target, asked: Asked) -> Before | None:
    """Pause it, or say anew why and until when; returns the pause that was in force before, None without one.

    Raises Refused where the workers make nothing of what now stands there.
    """
    before = await paused(database, asked.environment, target)
    await put_control(database, asked.environment, target.key, asked.said, until=asked.until)
    _require_sense(await _of(database, asked.environment, target.key, target.name), f"{target} is not paused")
    return None if before is None else Before(before)


async def resume(database: Database, target: Target, environment: str) -> Before | None:
    """End a pause; returns what it was, None where there was none. What waits for a stream is due at once."""
    before = await paused(database, environment, target)
    was_there = await remove_control(database, environment, target.key)
    if target.kind == "stream":
        await _wake(database, target.name)
    return Before(before or Said()) if was_there else None


async def set_value(database: Database, knob: Knob, value: Any, asked: Asked) -> Before | None:
    """Set it, or set it anew; returns what was in force before, None where nothing was.

    Raises Refused where the workers make nothing of what now stands there.
    """
    before = await _set(database, asked.environment, knob)
    said = {VALUE: value, **asked.said}
    await put_control(database, asked.environment, knob.key, said, until=asked.until)
    _require_sense(await _of(database, asked.environment, knob.key), f"{knob.name} is not set")
    return None if before is None else Before(before.said, before.value)


async def unset(database: Database, knob: Knob, environment: str) -> Before | None:
    """Let the setting of the process hold again; returns what was set, None where nothing was."""
    before = await _set(database, environment, knob)
    was_there = await remove_control(database, environment, knob.key)
    if not was_there:
        return None
    return Before(Said()) if before is None else Before(before.said, before.value)


async def _set(database: Database, environment: str, knob: Knob) -> Setting | None:
    found = await _of(database, environment, knob.key)
    return found.settings[0] if found.settings else None


async def _of(database: Database, environment: str, key: str, *named: str) -> Controls:
    """What the documents of one key say; `named` are names in the key that somebody has found to be known."""
    known = Known(frozenset(named), frozenset(named))
    return controls_of(await read_control(database, environment, key), known)


def _require_sense(found: Controls, otherwise: str) -> None:
    """What is over, or was ended by somebody else meanwhile, did make sense."""
    for each in found.ignored:
        raise Refused(f"{otherwise}: what is written makes no sense to the workers ({each.reason})")


async def _wake(database: Database, stream: str) -> None:
    """Have the role `retry` fold a stream at once: without, it would look again within some seconds."""
    items = [fold_item_id(stream, each.name) for each in database.catalogue.streams if each.folds(stream)]
    waiting = {"_id": {"$in": items}, "status": "pending"}
    await update_each(database.analytics_queue, waiting, [{"$set": {"due_at": "$$NOW"}}])
