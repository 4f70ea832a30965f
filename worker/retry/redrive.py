"""Dead letters sent again: exact bytes, key and headers, to the topic they came from, and never in a loop.

Whether the event is stored is decided where every record's is, by its event id: a letter that is sent twice
gives one event. One that is refused again becomes a new letter, which carries how often it was sent.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Protocol

from pymongo import UpdateOne

from worker.errors import Refused
from worker.retry.letters import Damaged, read_value
from worker.retry.selection import Entry
from worker.storage.database import Database, Document
from worker.storage.errors import translated

HEADER = "sevenp-redrives"
MAX_REDRIVES = 3

# What a crash may send a second time; and what is in memory at once.
_LETTERS_AT_ONCE = 200
_BYTES_AT_ONCE = 4_000_000
# A record of this size travels alone: should the broker refuse it, nothing else was sent with it.
_LARGE_BYTES = 500_000

Header = tuple[str, bytes | None]


class Skipped(StrEnum):
    """Why a letter was not sent again."""

    NO_BYTES = "no_bytes"  # a gap: its offsets were never read
    REDRIVEN = "redriven"  # already sent again; what became of it is another letter, or an event
    LOOP = "loop"  # sent as often as is allowed: sending it again will not help either
    DAMAGED = "damaged"  # parts are missing, or bytes differ from their checksum
    REFUSED = "refused"  # the broker does not take it


@dataclass(frozen=True, slots=True)
class Again:
    """A record as it is sent again."""

    value: bytes | None
    key: bytes | None
    headers: tuple[Header, ...]

    @property
    def size_bytes(self) -> int:
        return len(self.value or b"")


class Publish(Protocol):
    """Sends records to a topic."""

    async def __call__(self, topic: str, records: Sequence[Again]) -> None:
        """Return when all are acknowledged. Raises Refused for one the broker does not take."""


@dataclass(slots=True)
class Redriven:
    """What became of the letters, by id."""

    sent: list[str] = field(default_factory=list)
    skipped: dict[str, Skipped] = field(default_factory=dict)

    @property
    def reasons(self) -> dict[str, int]:
        return dict(Counter(reason.value for reason in self.skipped.values()))


def lineage(letter: Document) -> int:
    """How often this record was sent again: before it died here, and from here."""
    named = [header["value"] for header in letter["headers"] if header["key"] == HEADER]
    before = [int(value) for value in named if value is not None and re.fullmatch(rb"[0-9]{1,4}", value)]
    return max(before, default=0) + int(letter["redrives"])


def judge(letter: Document, max_redrives: int, *, again: bool) -> Skipped | None:
    """Why the letter must not be sent, None if it may be; `again`: although it was sent from here before."""
    if letter["kind"] != "record":
        return Skipped.NO_BYTES
    if lineage(letter) >= max_redrives:
        return Skipped.LOOP
    if letter["redrives"] and not again:
        return Skipped.REDRIVEN
    return None


def record_of(letter: Document, value: bytes | None) -> Again:
    """The record as it was, but for the one header that counts."""
    others = [(header["key"], header["value"]) for header in letter["headers"] if header["key"] != HEADER]
    return Again(value, letter["key"], (*others, (HEADER, str(lineage(letter) + 1).encode())))


async def redrive(
    database: Database,
    entries: Sequence[Entry],
    publish: Publish,
    *,
    max_redrives: int = MAX_REDRIVES,
    again: bool = False,
    dry_run: bool = False,
) -> Redriven:
    """Send the letters again, in the order given, and mark them; letters made meanwhile are not looked at.

    1. judge  2. read the bytes  3. send  4. mark, after the broker's word: a crash before that sends some
    again, which is harmless. `dry_run` ends after 2.
    """
    result = Redriven()
    for chunk in _chunks(entries):
        ready: list[tuple[Entry, Again]] = []
        for entry in chunk:
            refusal = judge(entry.document, max_redrives, again=again)  # 1
            value = None if refusal else await read_value(database, entry.document)  # 2
            if isinstance(value, Damaged):
                result.skipped[entry.id] = Skipped.DAMAGED
            elif refusal:
                result.skipped[entry.id] = refusal
            else:
                ready.append((entry, record_of(entry.document, value)))
        if dry_run:
            result.sent += [entry.id for entry, _ in ready]
            continue
        sent = await _send(publish, ready, result)  # 3
        await _mark(database, sent)  # 4
        result.sent += [entry.id for entry in sent]
    return result


async def _send(publish: Publish, ready: Sequence[tuple[Entry, Again]], result: Redriven) -> list[Entry]:
    """Send what is ready, topic by topic; returns what the broker took."""
    sent: list[Entry] = []
    for topic, group in groupby(ready, key=lambda each: str(each[0].document["topic"])):
        some = list(group)
        try:
            await publish(topic, [record for _, record in some])
            sent += [entry for entry, _ in some]
        except Refused:
            if len(some) == 1:
                result.skipped[some[0][0].id] = Skipped.REFUSED
                continue
            # One by one, so that it stops no other; what was taken already goes twice, which is harmless.
            for each in some:
                sent += await _send(publish, [each], result)
    return sent


async def _mark(database: Database, entries: Sequence[Entry]) -> None:
    """Count the redrive in each letter, unless somebody else has counted one meanwhile."""
    if not entries:
        return
    update = [{"$set": {"redrives": {"$add": ["$redrives", 1]}, "redriven_at": "$$NOW"}}]
    with translated():
        await database.dead_letters.bulk_write(
            [
                UpdateOne({"_id": entry.id, "redrives": entry.document["redrives"]}, update)
                for entry in entries
            ],
            ordered=False,
        )


def _chunks(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Bounded in number and bytes; what is large stands alone."""
    chunk: list[Entry] = []
    size = 0
    for entry in entries:
        length = int(entry.document["size_bytes"])
        large = length > _LARGE_BYTES
        full = len(chunk) == _LETTERS_AT_ONCE or size + length > _BYTES_AT_ONCE
        if chunk and (large or full):
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += length
        if large:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
