"""The commands that are killed at their writes: what is damaged and run before, and what has to be so afterwards.

`adopt` is not among them: it is for a platform that has no worker yet, and has a test of its own
(`integration/adopt/test_killed.py`).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from uuid import UUID

from tests.chaos import damage
from tests.chaos.damage import Damage
from tests.chaos.history import History
from tests.chaos.scenarios import scenarios
from tests.oracle.kafka import read_log
from worker.devstack.servers.topics import create_topic

# Events of one file; of twice as many records at least so many are events that the store takes.
_PAST = 60
# No history has such a seed: the learners of a file are nobody else's.
_PAST_SEEDS = 10**9
# A topic of copies has no group that reads it.
_NOBODY = "nobody"

Prepare = Callable[[History, str], Awaitable[None]]
Look = Callable[[History, str, datetime], Awaitable[Sequence[str]]]


async def _nothing(_history: History, _number: str) -> None:
    """The damage is all it needs."""


async def _nothing_wrong(_history: History, _number: str, _begun: datetime) -> Sequence[str]:
    """The oracle sees all of it in the end."""
    return ()


async def _file_of_the_past(history: History, number: str) -> None:
    """Events of learners of their own, which have to be stored once the command has come to its end."""
    steps = islice(scenarios(_PAST_SEEDS + int(number)), 2 * _PAST)
    chosen = [step for step in steps if step.entry.kind == "ok"][:_PAST]
    lines = b"".join(step.entry.value + b"\n" for step in chosen)
    await asyncio.to_thread(Path(history.world.folder, f"past-{number}.jsonl").write_bytes, lines)
    await history.workload.promise([step.entry for step in chosen])


async def _topic_of_copies(history: History, number: str) -> None:
    await create_topic(history.world.kafka.bootstrap_servers, f"copy{number}", 1)


async def _not_copied(history: History, number: str, begun: datetime) -> Sequence[str]:
    """What was stored when the first attempt began, and is not in the topic when the last one has ended."""
    log = await read_log(history.world.kafka.bootstrap_servers, f"copy{number}", _NOBODY)
    copied = {UUID(json.loads(record.value)["event_id"]) for record in log.records if record.value}
    learners = {"stream_id": {"$regex": "_user_"}, "event_type": {"$nin": ["void", "curriculum_migrated"]}}
    before = {"recorded_at": {"$lt": begun}, **learners}
    stored = await history.world.database.course_events.distinct("_id", before)
    return [f"event {each} was not published to copy{number}" for each in stored if each not in copied]


@dataclass(frozen=True, slots=True)
class JobCommand:
    """A command that runs a job, and what is damaged before, so that it has something to write.

    `before` are commands that have to succeed before each of its runs, `after` those that have to be run when all are
    over. `{number}` is a new word each time, `{folder}` the history's, `{promotion}` the run of `promote` before.
    `left_wrong` says what is wrong when the command was killed, and has come to its end.
    """

    words: str
    damaged: Damage
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    prepared: Prepare = _nothing
    left_wrong: Look = _nothing_wrong

    def arguments(self, names: Mapping[str, str]) -> Sequence[str]:
        return self.words.format(**names).split()


_BUILD = "rebuild progress --into shadow{number}"

# Those first that go through everything that is stored, while that is little; of four histories each has one of them.
COMMANDS: Sequence[JobCommand] = (
    JobCommand("verify --fix", damage.much),
    JobCommand("rebuild counts", damage.projections),
    # What comes back was recorded now: documents that did not go back with the store say so once they are rebuilt.
    JobCommand("reingest --from-offset 0", damage.lost, after=("rebuild progress",)),
    JobCommand(
        "publish --from-store --topic copy{number} --rate 2000",
        damage.nothing,
        prepared=_topic_of_copies,
        left_wrong=_not_copied,
    ),
    JobCommand("rebuild notifications", damage.notifications),
    JobCommand(_BUILD, damage.records, after=("rebuild progress",)),
    JobCommand("backfill {folder}/past-{number}.jsonl --rate 30", damage.nothing, prepared=_file_of_the_past),
    JobCommand("rebuild progress", damage.documents),
    JobCommand("rebuild time-series", damage.rows),
    JobCommand("promote shadow{number}", damage.records, before=(_BUILD,)),
    # What it puts back is what was damaged.
    JobCommand(
        "rollback {promotion}",
        damage.records,
        before=(_BUILD, "promote shadow{number}"),
        after=("rebuild progress",),
    ),
)
