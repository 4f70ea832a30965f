"""Dead letters sent again: exact bytes, key and headers, to the topic they came from, and never in a loop.

Whether the event is stored is decided where every record's is, by its event id: a dead letter that is sent twice
gives one event. One that is refused again becomes a new dead letter, which carries how often it was sent.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby

from pymongo import UpdateOne

from worker.contract.rejection import RejectReason
from worker.errors import Refused
from worker.kafka.files import OutgoingRecord
from worker.retry.dead_letters import Damaged, Kept, read_kept
from worker.storage.database import Database, Document
from worker.storage.errors import translated

HEADER = "sevenp-redrives"
MAX_REDRIVES = 3

# What a crash may send a second time; and what is in memory at once.
_DEAD_LETTERS_AT_ONCE = 200
_BYTES_AT_ONCE = 4_000_000
# A record of this size travels alone: should the broker refuse it, nothing else was sent with it.
_LARGE_BYTES = 500_000


class Skipped(StrEnum):
    """Why a dead letter was not sent again."""

    NO_BYTES = "no_bytes"  # a gap: its offsets were never read
    BROKEN = "broken"  # the record itself was broken: its bytes are no value that could be sent
    HEADERS = "headers"  # a header's name is no text, which no client of ours can send
    REDRIVEN = "redriven"  # already sent again; what became of it is another dead letter, or an event
    LOOP = "loop"  # sent as often as is allowed: sending it again will not help either
    DAMAGED = "damaged"  # parts are missing, or bytes differ from their checksum
    REFUSED = "refused"  # the broker does not take it


Publish = Callable[[str, Sequence[OutgoingRecord]], Awaitable[None]]
"""Sends records to a topic; returns when all are acknowledged. Raises Refused for one the broker does not take."""


@dataclass(slots=True)
class Redriven:
    """What became of the dead letters, by id."""

    sent: list[str] = field(default_factory=list)
    skipped: dict[str, Skipped] = field(default_factory=dict)

    @property
    def reasons(self) -> dict[str, int]:
        return dict(Counter(reason.value for reason in self.skipped.values()))


@dataclass(frozen=True, slots=True)
class _Ready:
    """A dead letter that may be sent, and what of it."""

    dead_letter: Document
    record: OutgoingRecord
    size_bytes: int


def lineage(dead_letter: Document, kept: Kept) -> int:
    """How often this record was sent again: before it died here, and from here."""
    named = [value for name, value in kept.headers if name == HEADER]
    before = [int(value) for value in named if value is not None and re.fullmatch(rb"[0-9]{1,4}", value)]
    return max(before, default=0) + int(dead_letter["redrives"])


def refusal_of(
    dead_letter: Document, kept: Kept | Damaged, max_redrives: int, *, again: bool
) -> Skipped | None:
    """Why the dead letter must not be sent, None if it may be; `again`: although it was sent from here before."""
    if dead_letter["kind"] != "record" or dead_letter.get("without_bytes"):
        return Skipped.NO_BYTES
    if dead_letter["reason"] == RejectReason.UNDECODABLE:
        return Skipped.BROKEN
    if isinstance(kept, Damaged):
        return Skipped.DAMAGED
    if lineage(dead_letter, kept) >= max_redrives:
        return Skipped.LOOP
    if dead_letter["redrives"] and not again:
        return Skipped.REDRIVEN
    if any(isinstance(name, bytes) for name, _ in kept.headers):
        return Skipped.HEADERS
    return None


def record_of(dead_letter: Document, kept: Kept) -> OutgoingRecord:
    """The record as it was, but for the one header that counts."""
    others = [(name, value) for name, value in kept.headers if isinstance(name, str) and name != HEADER]
    return OutgoingRecord(
        kept.value, kept.key, (*others, (HEADER, str(lineage(dead_letter, kept) + 1).encode()))
    )


async def redrive(
    database: Database,
    names: Sequence[str],
    publish: Publish,
    *,
    max_redrives: int = MAX_REDRIVES,
    again: bool = False,
    dry_run: bool = False,
) -> Redriven:
    """Send the dead letters of these ids again, in the order given, and mark them.

    1. read the bytes  2. check  3. send  4. mark, after the broker's word: a crash before that sends some
    again, which is harmless. `dry_run` ends after 2.
    """
    result = Redriven()
    async for chunk in _chunks(_ready(database, names, max_redrives, again, result)):  # 1, 2
        if dry_run:
            result.sent += [each.dead_letter["_id"] for each in chunk]
            continue
        sent = await _send(publish, chunk, result)  # 3
        await _mark(database, sent)  # 4
        result.sent += [dead_letter["_id"] for dead_letter in sent]
    return result


async def _ready(
    database: Database, names: Sequence[str], max_redrives: int, again: bool, result: Redriven
) -> AsyncIterator[_Ready]:
    """What may be sent; why the rest may not is noted in the `result`."""
    for name in names:
        found = await read_kept(database, name)
        if found is None:
            continue  # discarded meanwhile
        dead_letter, kept = found
        refusal = refusal_of(dead_letter, kept, max_redrives, again=again)
        if refusal is None and isinstance(kept, Kept):
            yield _Ready(dead_letter, record_of(dead_letter, kept), kept.size_bytes)
        elif refusal is not None:
            result.skipped[name] = refusal


async def _send(publish: Publish, ready: Sequence[_Ready], result: Redriven) -> list[Document]:
    """Send what is ready, topic by topic; returns the dead letters that the broker took."""
    sent: list[Document] = []
    for topic, group in groupby(ready, key=lambda each: str(each.dead_letter["topic"])):
        some = list(group)
        try:
            await publish(topic, [each.record for each in some])
            sent += [each.dead_letter for each in some]
        except Refused:
            if len(some) == 1:
                result.skipped[some[0].dead_letter["_id"]] = Skipped.REFUSED
                continue
            # One by one, so that it stops no other; what was taken already goes twice, which is harmless.
            for each in some:
                sent += await _send(publish, [each], result)
    return sent


async def _mark(database: Database, dead_letters: Sequence[Document]) -> None:
    """Count the redrive in each dead letter, unless somebody else has counted one meanwhile."""
    if not dead_letters:
        return
    update = [{"$set": {"redrives": {"$add": ["$redrives", 1]}, "redriven_at": "$$NOW"}}]
    with translated():
        await database.dead_letters.bulk_write(
            [UpdateOne({"_id": each["_id"], "redrives": each["redrives"]}, update) for each in dead_letters],
            ordered=False,
        )


async def _chunks(ready: AsyncIterator[_Ready]) -> AsyncIterator[list[_Ready]]:
    """Bounded in number and bytes; what is large stands alone."""
    chunk: list[_Ready] = []
    total = 0
    async for each in ready:
        size = each.size_bytes if each.size_bytes <= _LARGE_BYTES else _BYTES_AT_ONCE + 1
        if chunk and (len(chunk) == _DEAD_LETTERS_AT_ONCE or total + size > _BYTES_AT_ONCE):
            yield chunk
            chunk, total = [], 0
        chunk.append(each)
        total += size
    if chunk:
        yield chunk
