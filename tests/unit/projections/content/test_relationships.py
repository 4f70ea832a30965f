"""Which relationships stand: all but those that close a cycle with earlier ones, whatever the order of arrival."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.content.relationships import (
    CONTENT_CYCLES,
    CONTENT_RELATIONSHIPS,
    DECIDED,
    decide,
    meets,
)
from projections.contests import contending, decide_afresh
from projections.kinds import Entry
from tests.unit.projections.content.events import ITEM, content_event, folded, oid, readable
from tests.unit.projections.events import lesson_id, moment


def edge(number: int, parent: int, child: int, at: int = 0) -> dict[str, Any]:
    return {
        "_id": lesson_id(number),
        "parent_id": lesson_id(1000 + parent),
        "child_id": lesson_id(1000 + child),
        "relationship_type": "contains",
        "deleted_at": None,
        "since": {"at": moment(at), "event_id": UUID(int=number)},
    }


def entry(one: Mapping[str, Any]) -> Entry | None:
    return contending(CONTENT_CYCLES, one)


def standing(edges: Sequence[Mapping[str, Any]]) -> Mapping[ObjectId, bool]:
    """Which of the edges stand when all are decided afresh."""
    return decide({}, {each["_id"]: entry(each) for each in edges})


def one_after_the_other(edges: Sequence[Mapping[str, Any]]) -> dict[ObjectId, bool]:
    """The same, with all ways walked anew for every edge."""
    kept: list[tuple[Any, Any]] = []
    stands = {}
    for one in sorted(edges, key=lambda each: (each["since"]["at"], each["since"]["event_id"])):
        below = {one["child_id"]}
        before: set[Any] = set()
        while below != before:
            before = set(below)
            below |= {child for parent, child in kept if parent in below}
        stands[one["_id"]] = one["parent_id"] not in below
        if stands[one["_id"]]:
            kept.append((one["parent_id"], one["child_id"]))
    return stands


_EDGES = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 3)).filter(
        lambda ends: ends[0] != ends[1]
    ),
    max_size=20,
).map(lambda drawn: [edge(number, *one) for number, one in enumerate(drawn)])


@given(_EDGES, st.data())
@settings(max_examples=300, deadline=None)
def test_what_stands_is_what_a_naive_walk_finds_and_has_no_cycle(
    edges: list[dict[str, Any]], data: st.DataObject
) -> None:
    stands = standing(data.draw(st.permutations(edges)))
    assert stands == one_after_the_other(edges)
    ways = [(each["parent_id"], each["child_id"]) for each in edges if stands[each["_id"]]]
    ends = {end for way in ways for end in way}
    while ends:
        tops = ends - {child for _, child in ways}
        assert tops, "a cycle stands"
        ends -= tops
        ways = [way for way in ways if way[0] not in tops]


_CHANGES = st.lists(
    st.tuples(
        st.integers(0, 14),
        st.integers(0, 6),
        st.integers(0, 6),
        st.integers(0, 9),
        st.sampled_from(["make", "make", "make", "go", "decide"]),
    ),
    max_size=60,
)


@pytest.mark.slow
@given(_CHANGES)
@settings(max_examples=500, deadline=None)
def test_what_is_decided_after_each_change_is_what_is_decided_afresh(
    changes: list[tuple[int, int, int, int, str]],
) -> None:
    """Only what changed is told, some of it at a time; what was decided before is kept as contenders keep it."""
    edges: dict[ObjectId, dict[str, Any]] = {}
    kept: dict[ObjectId, Entry] = {}
    waiting = set[ObjectId]()
    for number, parent, child, at, what in [*changes, (0, 0, 0, 0, "decide")]:
        if what == "make":
            edges[lesson_id(number)] = edge(number, parent, child, at)
            waiting.add(lesson_id(number))
        elif what == "go":
            edges.pop(lesson_id(number), None)
            waiting.add(lesson_id(number))
        elif what == "decide":
            changed = {each: entry(edges[each]) if each in edges else None for each in waiting}
            outcomes = decide(kept, changed)
            for each, one in {**kept, **changed}.items():
                if one is None:
                    kept.pop(each, None)
                else:
                    kept[each] = {**one, "outcome": outcomes[each] if each in outcomes else one["outcome"]}
            waiting.clear()
            assert {each: one["outcome"] for each, one in kept.items()} == one_after_the_other(
                list(edges.values())
            )


@given(_EDGES, st.data())
@settings(max_examples=100, deadline=None)
def test_what_hangs_together_is_decided_by_itself(edges: list[dict[str, Any]], data: st.DataObject) -> None:
    """Parts that meet nowhere need not be read together."""
    whole = standing(edges)
    for one in edges:
        part = part_of(one, edges)
        assert standing(data.draw(st.permutations(part))) == {
            each["_id"]: whole[each["_id"]] for each in part
        }


def part_of(one: Mapping[str, Any], edges: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """All edges that hang together with this one."""
    part, before = [one], 0
    while len(part) > before:
        before = len(part)
        keys = {key for each in part for key in meets(each)}
        part = [each for each in edges if keys & set(meets(each))]
    return part


def test_the_latest_edge_gives_way_and_stands_again_when_an_earlier_one_goes() -> None:
    first, second, third = edge(1, 1, 2, at=1), edge(2, 2, 3, at=2), edge(3, 3, 1, at=3)
    assert standing([third, first, second]) == {lesson_id(1): True, lesson_id(2): True, lesson_id(3): False}
    assert standing([third, first]) == {lesson_id(1): True, lesson_id(3): True}
    neighbour = edge(4, 1, 9, at=4)
    assert standing([first, second, third, neighbour])[lesson_id(4)]


def test_edges_of_two_kinds_never_meet() -> None:
    one, other = edge(1, 1, 2), edge(2, 2, 1) | {"relationship_type": "requires"}
    assert not set(meets(one)) & set(meets(other))


def test_a_contest_says_of_each_whether_it_stands_and_why_not() -> None:
    first, back = edge(1, 1, 2, at=1), edge(2, 2, 1, at=2)
    gone = edge(3, 5, 6) | {"deleted_at": moment(9)}
    of_somebody = {"_id": lesson_id(4), "parent_id": lesson_id(1)}
    decided = decide_afresh(CONTENT_CYCLES, [back, gone, of_somebody, first])
    assert {name: one.values for name, one in decided.items()} == {
        lesson_id(1): {"effective": True, "reason": None},
        lesson_id(2): {"effective": False, "reason": "closes_cycle"},
        lesson_id(3): {},
    }
    assert [name for name, one in decided.items() if one.reason is not None] == [lesson_id(2)]


def related(**changes: Any) -> dict[str, Any]:
    return {
        "parent_id": ITEM,
        "child_id": "5f0000000000000000000a03",
        "relationship_type": "contains",
    } | changes


def test_a_relationship_is_merged_removed_and_made_again() -> None:
    events = [
        content_event(
            "content_related", 0, details=related(order=3.0, display_rules={"prerequisites": [ITEM]})
        ),
        content_event("content_relationship_changed", 10, details={"order": 4, "display_rules": None}),
        content_event("content_unrelated", 20),
    ]
    document = folded(CONTENT_RELATIONSHIPS, events)
    assert readable(document) == {
        "since": {"at": moment(0), "event_id": events[0].event_id},
        "parent_id": oid(ITEM),
        "child_id": oid("5f0000000000000000000a03"),
        "relationship_type": "contains",
        "order": 4,
        "display_rules": None,
        "adaptive_params": None,
        "created_at": moment(0),
        "updated_at": moment(20),
        "deleted_at": moment(20),
    }
    assert meets(document) == ()
    again = folded(CONTENT_RELATIONSHIPS, [*events, content_event("content_related", 30, details=related())])
    assert again["deleted_at"] is None
    assert len(meets(again)) == 2
    assert not set(DECIDED) & set(again)


def test_a_relationship_of_which_only_changes_are_known_waits() -> None:
    document = folded(
        CONTENT_RELATIONSHIPS, [content_event("content_relationship_changed", details={"order": 4})]
    )
    assert CONTENT_RELATIONSHIPS.begun is not None
    assert not CONTENT_RELATIONSHIPS.begun(document)
    assert meets(document) == ()
