"""The producer's ledger: one entry a record, written before the record is sent, acknowledged afterwards."""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

Kind = Literal["ok", "duplicate", "conflict", "poison"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One record and what must become of it.

    ok: stored, once. duplicate: the bytes of an earlier ok entry again; nothing comes of it. conflict: the event
    id of an earlier ok entry with other content; a dead letter. poison: no valid event; a dead letter, for
    `reason` if the producer knows it. The records of one event id go to one partition in the order of the ledger.
    `event_id` and `stream_id` (`course_<id>_user_<id>`) may be None for poison. A record that was not
    `acknowledged` may have reached the log or not.
    """

    event_id: UUID | None
    stream_id: str | None
    kind: Kind
    value: bytes
    reason: str | None = None
    acknowledged: bool = True


def write_ledger(path: Path, entries: Iterable[Entry]) -> None:
    """Append the entries, one JSON object a line."""
    _append(path, map(_fields, entries))


def acknowledge(path: Path, numbers: Iterable[int]) -> None:
    """Note that the broker acknowledged these entries of the file, the first being number 0."""
    _append(path, ({"acknowledged": number} for number in numbers))


def read_ledger(path: Path) -> Sequence[Entry]:
    """The entries of a ledger file in their order, as acknowledged as the file says."""
    entries: list[Entry] = []
    for fields in _lines(path):
        if "kind" in fields:
            entries.append(_entry(fields))
        else:
            number = int(fields["acknowledged"])
            entries[number] = replace(entries[number], acknowledged=True)
    return entries


def _fields(entry: Entry) -> dict[str, Any]:
    return {
        "event_id": None if entry.event_id is None else str(entry.event_id),
        "stream_id": entry.stream_id,
        "kind": entry.kind,
        "value": base64.b64encode(entry.value).decode(),
        "reason": entry.reason,
        "acknowledged": entry.acknowledged,
    }


def _entry(fields: dict[str, Any]) -> Entry:
    return Entry(
        event_id=None if fields["event_id"] is None else UUID(fields["event_id"]),
        stream_id=fields["stream_id"],
        kind=fields["kind"],
        value=base64.b64decode(fields["value"]),
        reason=fields.get("reason"),
        acknowledged=fields.get("acknowledged", True),
    )


def _append(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(fields) + "\n" for fields in lines)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)
