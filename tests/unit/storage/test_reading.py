"""What becomes of documents that Python cannot hold, and of those that a pure step cannot make sense of."""

import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import bson
import pytest
from bson import Binary, DatetimeMS, Int64, ObjectId
from bson.errors import InvalidBSON
from hypothesis import given
from hypothesis import strategies as st

from tests.support.odd_bson import documents, raw_document, raw_text
from worker.storage.elements import elements, joined
from worker.storage.reading import KeptArray, Unreadable, _up_to, decoded, decoded_one, find, name_of, shown

ID = ObjectId("a" * 24)
GOOD = bson.encode({"_id": ID, "n": 1})

ODD = {
    "a date after the year 9999": bson.encode({"_id": ID, "at": DatetimeMS(253_402_300_800_000)}),
    "a date before the year 1": bson.encode({"_id": ID, "at": DatetimeMS(-(2**62))}),
    "text that is no UTF-8": raw_document((0x07, b"_id", ID.binary), (0x02, b"t", raw_text(b"\xff\xfe"))),
    "a name that is no UTF-8": raw_document((0x07, b"_id", ID.binary), (0x10, b"\xff", b"\1\0\0\0")),
    "a UUID of three bytes": raw_document(
        (0x07, b"_id", ID.binary), (0x05, b"u", struct.pack("<i", 3) + b"\x04abc")
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_a_document_python_cannot_hold_costs_only_itself(name: str) -> None:
    reading = decoded("users", GOOD + ODD[name] + GOOD)
    assert reading.documents == [{"_id": ID, "n": 1}] * 2
    (odd,) = reading.unreadable
    assert (odd.collection, odd.id, odd.name) == ("users", ID, str(ID))
    assert reading.size_bytes == 2 * len(GOOD) + len(ODD[name])


@pytest.mark.parametrize(
    ("raw", "identity"),
    [
        (bson.encode({"_id": DatetimeMS(2**60), "n": 1}), DatetimeMS(2**60)),
        (raw_document((0x02, b"_id", raw_text(b"\xff"))), "\\xff"),
        (bson.encode({"at": DatetimeMS(2**60), "_id": Int64(4)}), 4),
        (bson.encode({"at": DatetimeMS(2**60)}), None),
        (raw_document((0x05, b"_id", struct.pack("<i", 1) + b"\x04x")), Binary(b"x", 4)),
    ],
)
def test_an_odd_id_is_told_as_far_as_it_can_be_read(raw: bytes, identity: object) -> None:
    odd = decoded_one("courses", raw)
    assert isinstance(odd, Unreadable)
    assert odd.id == identity
    assert odd.name.isprintable()
    assert len(odd.name) <= 200


def test_a_reason_holds_no_value_of_the_document() -> None:
    raw = raw_document((0x02, b"secret", raw_text(b"secret \xff")))
    odd = decoded_one("users", raw)
    assert isinstance(odd, Unreadable)
    assert odd.reason == "it cannot be decoded (text that is no UTF-8)"


def test_what_a_step_cannot_make_sense_of_costs_only_itself() -> None:
    rows = [{"_id": 1, "on": "text"}, {"_id": 2, "on": {}}, {"_id": 3, "on": {"n": 5}}, {"_id": 4, "on": []}]
    taken = decoded("users", b"".join(bson.encode(row) for row in rows)).through(lambda row: row["on"]["n"])
    assert taken.values == [5]
    assert [(odd.id, odd.reason) for odd in taken.unreadable] == [
        (1, "its values make no sense here (TypeError)"),
        (2, "its values make no sense here (KeyError)"),
        (4, "its values make no sense here (TypeError)"),
    ]


def test_different_ids_have_different_names() -> None:
    ids: list[Any] = [ID, "text", "x" * 300, "x" * 301, "a\nb", 5, Int64(6), {"a": 1}, b"bytes", None, 1.5]
    assert len({name_of(each) for each in ids}) == len(ids)


def test_an_id_of_an_event_is_named_as_everybody_writes_it() -> None:
    """Also where the document could be read in part only, and its id is as it was stored."""
    identity = UUID("6f1f0f3c-5a3e-4d53-9e0f-2f4f5a6b7c8d")
    assert name_of(identity) == str(identity) == name_of(Binary.from_uuid(identity))
    assert name_of(Binary(identity.bytes, 0)) != str(identity)


@given(documents())
def test_every_legal_document_is_read_or_set_aside_and_its_bytes_come_back(raw: bytes) -> None:
    one = decoded_one("users", raw)
    if not isinstance(one, Unreadable):
        assert shown(raw) is not None
    assert joined(elements(raw)) == raw
    reading = decoded("users", GOOD + raw + GOOD)
    assert len(reading.documents) + len(reading.unreadable) == 3


@given(st.binary(max_size=40))
def test_bytes_that_are_no_document_raise_one_error(raw: bytes) -> None:
    with suppress(InvalidBSON):
        assert joined(elements(raw)) == raw


@pytest.mark.parametrize(
    ("max_bytes", "kept"), [(1, 1), (len(GOOD), 1), (len(GOOD) + 1, 2), (10**6, 3), (None, 3)]
)
def test_the_document_that_reaches_the_bytes_allowed_is_the_last_one(
    max_bytes: int | None, kept: int
) -> None:
    assert _up_to(GOOD * 3, max_bytes, 0) == GOOD * kept
    assert _up_to(GOOD * 3, max_bytes, 10**6) == GOOD * (1 if max_bytes else 3)


class Answers:
    """A collection whose server answers with these batches, as one does that has large documents."""

    name = "users"

    def __init__(self, *batches: bytes) -> None:
        self._batches = batches

    def find_raw_batches(self, *_query: Any, **_options: Any) -> "Answers":
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._batches:
            raise StopAsyncIteration
        first, *rest = self._batches
        self._batches = tuple(rest)
        return first

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("batches", "read", "complete"),
    [([GOOD] * 5, 2, False), ([GOOD] * 2, 2, True), ([GOOD * 2, GOOD], 2, False), ([GOOD * 3], 2, False)],
)
async def test_reading_ends_though_each_answer_has_but_one_large_document(
    batches: Sequence[bytes], read: int, complete: bool
) -> None:
    collection: Any = Answers(*batches)
    found = await find(collection, {}, max_bytes=len(GOOD) + 1)
    assert (len(found.documents), found.complete) == (read, complete)


def test_an_array_keeps_entries_whose_places_have_other_names() -> None:
    entry = bson.encode({"action": "x"})
    array = raw_document((0x03, b"\xff", entry), (0x03, b"", entry), (0x0A, b"\xfe", b""))
    raw = raw_document((0x07, b"_id", ID.binary), (0x04, b"activity_log", array))
    [user] = decoded("users", raw, ("activity_log",)).documents
    log = user["activity_log"]
    assert isinstance(log, KeptArray)
    assert log[:2] == [{"action": "x"}] * 2
    assert log.encoded(log) == raw_document((0x03, b"0", entry), (0x03, b"1", entry), (0x0A, b"2", b""))
