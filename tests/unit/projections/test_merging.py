"""Pieces of a document are merged by the latest word on each path, in any order of arrival."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.merging import Order, closed, converted, hide, merge, opened, opened_stamps
from tests.unit.projections.events import stored_document

_NAMES = st.sampled_from(["a", "b", "c"])
_LEAVES = st.one_of(st.none(), st.integers(0, 3), st.lists(st.integers(0, 1), max_size=2))
_PIECES = st.dictionaries(
    _NAMES,
    st.recursive(_LEAVES, lambda inner: st.dictionaries(_NAMES, inner, max_size=3), max_leaves=6),
    min_size=1,
    max_size=3,
)


def order(number: int) -> Order:
    """Two events of each moment, which their ids tell apart."""
    return datetime(2024, 1, 1, 0, number // 2, tzinfo=UTC), UUID(int=number)


def one_after_the_other(pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the words say to somebody who hears them in order."""
    document: dict[str, Any] = {}

    def hear(values: dict[str, Any], piece: Mapping[str, Any]) -> None:
        for name, said in piece.items():
            if isinstance(said, dict):
                if says_nothing(said):
                    continue
                inner = values.get(name)
                values[name] = inner if isinstance(inner, dict) else {}
                hear(values[name], said)
                if not values[name]:
                    del values[name]
            elif said is None:
                values.pop(name, None)
            else:
                values[name] = said

    for piece in pieces:
        hear(document, piece)
    return document


def says_nothing(piece: Mapping[str, Any]) -> bool:
    return all(isinstance(each, dict) and says_nothing(each) for each in piece.values())


@given(st.lists(_PIECES, min_size=1, max_size=8), st.data())
@settings(max_examples=500, deadline=None)
def test_in_any_order_of_arrival_the_latest_word_on_each_path_counts(
    pieces: list[dict[str, Any]], data: st.DataObject
) -> None:
    stamps: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for place in data.draw(st.permutations(range(len(pieces)))):
        before = (opened_stamps(stamps), opened(values))
        merge(stamps, values, pieces[place], order(place))
        again = opened_stamps(before[0]), opened(before[1])
        merge(*again, pieces[place], order(place))
        assert again == (stamps, values)  # copies share nothing that merging changes
        back = stored_document({"stamps": stamps, "values": values})
        stamps, values = back["stamps"], back["values"]
    assert values == one_after_the_other(pieces)


def test_what_is_one_value_is_never_merged_inside() -> None:
    stamps: dict[str, Any] = {}
    values: dict[str, Any] = {}
    price = frozenset({("pricing", "price")})
    merge(
        stamps,
        values,
        {"pricing": {"type": "paid", "price": {"amount": 1, "was": 2}}},
        order(0),
        leaves=price,
    )
    merge(stamps, values, {"pricing": {"price": {"amount": 3}}}, order(1), leaves=price)
    assert values == {"pricing": {"type": "paid", "price": {"amount": 3}}}


def test_what_is_hidden_comes_back_only_by_a_later_word() -> None:
    stamps: dict[str, Any] = {}
    values: dict[str, Any] = {}
    merge(stamps, values, {"a": {"b": 1}}, order(3))
    hide(stamps, values, "a", order(4))
    merge(stamps, values, {"a": {"b": 2}}, order(2))
    assert values == {}
    merge(stamps, values, {"a": {"c": 2}}, order(5))
    assert values == {"a": {"c": 2}}


def test_values_get_the_types_that_documents_have() -> None:
    identity = "5F0000000000000000000001"
    written = {"id": identity, "list": [{"id": identity, "at": "2024-01-01T00:00:00Z"}], "n": 65.0, "x": 0.5}
    assert converted(written, ids=(("id",), ("list", "*", "id")), times=(("list", "*", "at"),)) == {
        "id": ObjectId(identity),
        "list": [{"id": ObjectId(identity), "at": datetime(2024, 1, 1, tzinfo=UTC)}],
        "n": 65,
        "x": 0.5,
    }
    assert list(closed({"b": 1, "a": {"d": 1, "c": 2}})["a"]) == ["c", "d"]
