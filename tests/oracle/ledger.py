"""The producer's ledger: one entry a record, written before the record is sent."""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import UUID

Kind = Literal["ok", "duplicate", "conflict", "poison"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One record and what must become of it.

    ok: stored, once. duplicate: the bytes of an earlier ok entry again; nothing comes of it. conflict: the event
    id of an earlier ok entry with other content; a dead letter. poison: no valid event; a dead letter. The
    records of one event id go to one partition in the order of the ledger. `event_id` and `stream_id`
    (`course_<id>_user_<id>`) may be None for poison.
    """

    event_id: UUID | None
    stream_id: str | None
    kind: Kind
    value: bytes


def write_ledger(path: Path, entries: Iterable[Entry]) -> None:
    """Append the entries, one JSON object a line."""
    with path.open("a", encoding="utf-8") as file:
        for entry in entries:
            fields = {
                "event_id": None if entry.event_id is None else str(entry.event_id),
                "stream_id": entry.stream_id,
                "kind": entry.kind,
                "value": base64.b64encode(entry.value).decode(),
            }
            file.write(json.dumps(fields) + "\n")


def read_ledger(path: Path) -> Sequence[Entry]:
    """The entries of a ledger file in their order."""
    return list(_entries(path))


def _entries(path: Path) -> Iterator[Entry]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            fields = json.loads(line)
            event_id = None if fields["event_id"] is None else UUID(fields["event_id"])
            yield Entry(event_id, fields["stream_id"], fields["kind"], base64.b64decode(fields["value"]))
