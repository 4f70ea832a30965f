"""An array as bytes says which of its entries differ, and is never decoded for it."""

from typing import Any

import bson
import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from projections.shared import Shared, SharedArray, SharingArray
from worker.storage.arrays import StoredArray, encoded_array
from worker.storage.elements import cut_out

ENTRIES: list[dict[str, Any]] = [{"lesson_id": ObjectId(), "status": "not_started"} for _ in range(12)]


def stored(entries: list[Any]) -> StoredArray:
    document = bson.encode({"before": {"large": []}, "large": entries, "after": 1})
    rest, array = cut_out(document, b"large")
    assert bson.decode(rest) == {"before": {"large": []}, "after": 1}
    assert array is not None
    return StoredArray(array)


def test_equal_entries_change_nothing_shared_or_not() -> None:
    assert stored(ENTRIES).changes("large", ENTRIES) == {}
    assert stored(ENTRIES).changes("large", [Shared(each) for each in ENTRIES]) == {}
    assert stored([]).changes("large", []) == {}


def test_what_shares_most_of_its_entries_is_the_array_that_it_shows() -> None:
    shared = SharedArray(Shared(each) for each in ENTRIES)
    for own in ({}, {0: {"a": 1}}, {11: {"a": 1}}, {3: {"a": 1}, 4: {"b": 2}}):
        for more in ([], [{"c": 3}]):
            sharing = SharingArray(shared, own, more)
            assert list(sharing) == [*(own.get(place, each) for place, each in enumerate(ENTRIES)), *more]
            assert encoded_array(sharing) == stored(list(sharing)).raw
            assert stored(list(sharing)).changes("large", sharing) == {}
            assert stored([*ENTRIES, *more]).changes("large", sharing) == {
                f"large.{place}": entry for place, entry in own.items()
            }
            assert stored(ENTRIES[::-1]).changes("large", sharing) == {"large": sharing}


def test_a_few_entries_are_set_by_their_places() -> None:
    wanted = [*ENTRIES]
    wanted[0], wanted[11] = {"status": "completed"}, {**ENTRIES[11], "more": 1}
    assert stored(ENTRIES).changes("large", wanted) == {"large.0": wanted[0], "large.11": wanted[11]}


@pytest.mark.parametrize(
    "wanted",
    [ENTRIES[:11], [*ENTRIES, {}], [{"n": number} for number in range(12)], [], [{"a": 2**70}, *ENTRIES[1:]]],
)
def test_else_the_whole_array_is_set(wanted: list[Any]) -> None:
    assert stored(ENTRIES).changes("large", wanted) == {"large": wanted}


@pytest.mark.parametrize("odd", [[1, 2, 3], [{}, 5, {}], [None], ["text" * 50]])
def test_what_somebody_else_wrote_there_is_replaced(odd: list[Any]) -> None:
    assert stored(odd).changes("large", ENTRIES) == {"large": ENTRIES}


def test_a_document_without_the_array_stays_whole() -> None:
    for document in ({"large": 1, "deeper": {"large": [1]}}, {}):
        assert cut_out(bson.encode(document), b"large") == (bson.encode(document), None)


_DOCUMENTS = st.lists(st.dictionaries(st.text("ab", max_size=2), st.integers(0, 3), max_size=2), max_size=10)


@given(_DOCUMENTS, _DOCUMENTS)
def test_what_is_set_makes_the_array_that_was_wanted(before: list[Any], wanted: list[Any]) -> None:
    changes = stored(before).changes("large", wanted)
    result = list(before)
    for name, value in changes.items():
        if name == "large":
            result = value
        else:
            result[int(name.removeprefix("large."))] = value
    assert result == wanted
    assert encoded_array(wanted) == stored(wanted).raw
