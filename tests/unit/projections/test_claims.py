"""Claims: of all who ask for a value the earliest has it, in whatever order they came, moved away and came back."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from operator import itemgetter
from random import Random
from typing import Any
from uuid import UUID

import pytest
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from projections import claims as claiming
from projections.claims import HELD, TAKEN, claims_contest
from projections.contests import contending, decide_afresh, order_of
from projections.kinds import Entry

CONTEST = claims_contest("name_claims", "names", ("name", "mail"))
START = datetime(2024, 1, 1, tzinfo=UTC)

Documents = dict[ObjectId, dict[str, Any]]


def identity(number: int) -> ObjectId:
    return ObjectId(number.to_bytes(12, "big"))


def asking(number: int, at: int, **values: str) -> dict[str, Any]:
    """A document of the worker's that claims values since `at` seconds."""
    claim = {"at": START + timedelta(seconds=at), "event_id": UUID(int=number)}
    return {
        "_id": identity(number),
        "claims": {name: {**claim, "value": value} for name, value in values.items()},
    }


def settled(documents: Documents) -> dict[ObjectId, dict[str, Any]]:
    """What each document must have, worked out once more: value by value."""
    wanted: dict[ObjectId, dict[str, Any]] = {each: {} for each in documents}
    for name in CONTEST.paths:
        kept = {one[name] for one in documents.values() if "claims" not in one and name in one}
        asked: dict[str, list[tuple[Any, ...]]] = {}
        for one in documents.values():
            if name in one.get("claims", {}):
                claim = one["claims"][name]
                asked.setdefault(claim["value"], []).append((claim["at"], claim["event_id"].int, one["_id"]))
        for value, claims in asked.items():
            if value not in kept:
                wanted[min(claims)[2]][name] = value
    return wanted


def apply(documents: Documents, some: Sequence[Mapping[str, Any]]) -> None:
    for each, decided in decide_afresh(CONTEST, some).items():
        for name in CONTEST.paths:
            documents[each].pop(name, None)
        documents[each].update(decided.values)


def had(documents: Documents) -> dict[ObjectId, dict[str, Any]]:
    return {
        each: {name: one[name] for name in CONTEST.paths if name in one} if "claims" in one else {}
        for each, one in documents.items()
    }


_VALUES = st.sampled_from(["a", "b", "c"])
_CHANGES = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.integers(0, 4),
        st.dictionaries(st.sampled_from(CONTEST.paths), _VALUES),
        st.sampled_from(["ask", "ask", "ask", "go", "decide"]),
    ),
    max_size=25,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(_CHANGES, st.booleans(), st.randoms(use_true_random=False))
def test_any_order_of_changes_and_decisions_ends_with_the_same(
    changes: list[tuple[int, int, dict[str, str], str]], platform: bool, chance: Any
) -> None:
    documents: Documents = {}
    if platform:
        documents[identity(9)] = {"_id": identity(9), "name": "a"}
    for number, at, values, what in changes:
        if what == "ask":
            before = documents.get(identity(number), {})
            held = {name: before[name] for name in CONTEST.paths if name in before}
            documents[identity(number)] = {**asking(number, at, **values), **held}
        elif what == "go":
            documents.pop(identity(number), None)
        else:
            some = list(documents.values())
            chance.shuffle(some)
            apply(documents, some)
    some = list(documents.values())
    chance.shuffle(some)
    apply(documents, some)
    assert had(documents) == settled(documents)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(_CHANGES, st.booleans())
def test_what_is_decided_after_each_change_is_what_is_decided_afresh(
    changes: list[tuple[int, int, dict[str, str], str]], platform: bool
) -> None:
    """Only what changed is told, some of it at a time; what was decided before is kept as contenders keep it."""
    documents: Documents = {identity(9): {"_id": identity(9), "name": "a"}} if platform else {}
    kept: dict[ObjectId, Entry] = {}
    waiting = set(documents)
    for number, at, values, what in [*changes, (0, 0, {}, "decide")]:
        if what == "ask":
            documents[identity(number)] = asking(number, at, **values)
            waiting.add(identity(number))
        elif what == "go":
            documents.pop(identity(number), None)
            waiting.add(identity(number))
        elif what == "decide":
            changed = {
                each: contending(CONTEST, documents[each]) if each in documents else None for each in waiting
            }
            outcomes = CONTEST.decide(kept, changed)
            assert {each for each, one in changed.items() if one is not None} <= outcomes.keys()
            for each, one in {**kept, **changed}.items():
                if one is None:
                    kept.pop(each, None)
                else:
                    kept[each] = {**one, "outcome": outcomes[each] if each in outcomes else one["outcome"]}
            waiting.clear()
    afresh = CONTEST.decide({}, {each: contending(CONTEST, one) for each, one in documents.items()})
    assert {each: one["outcome"] for each, one in kept.items()} == afresh


def test_places_sort_as_moments_and_events_do() -> None:
    moments = [datetime(1, 1, 1, tzinfo=UTC), START - timedelta(days=20_000), START]
    places = [order_of(at, UUID(int=number)) for at in moments for number in (0, 1, 2**127)]
    assert places == sorted(places)
    assert len(set(places)) == len(places)


def test_what_has_lost_says_to_whom_and_names_no_value() -> None:
    platforms = {"_id": identity(9), "mail": "jane@example.com"}
    some = [asking(1, 5, name="jane"), asking(2, 6, name="jane", mail="jane@example.com"), platforms]
    decided = decide_afresh(CONTEST, some)
    assert decided.keys() == {identity(1), identity(2)}
    assert (decided[identity(1)].values, decided[identity(1)].reason) == ({"name": "jane"}, None)
    assert (decided[identity(2)].values, decided[identity(2)].reason) == ({}, TAKEN)
    words = decided[identity(2)].message
    assert str(identity(1)) in words
    assert str(identity(9)) in words
    assert "jane" not in words
    assert (
        decide_afresh(CONTEST, [asking(2, 6, mail="jane@example.com"), platforms])[identity(2)].reason == HELD
    )


def test_documents_meet_at_what_they_ask_for_and_at_what_they_have_and_keys_do_not_tell_which() -> None:
    moving = {**asking(1, 5, mail="new@example.com"), "mail": "old@example.com"}
    keys = set(CONTEST.keys(moving))
    assert keys == {
        *CONTEST.keys(asking(2, 6, mail="new@example.com")),
        *CONTEST.keys({"_id": identity(9), "mail": "old@example.com"}),
    }
    assert len(keys) == 2
    assert not any("example" in key for key in keys)
    assert CONTEST.keys({"_id": identity(9), "mail": None}) == []


def test_which_claims_are_told_apart_depends_on_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "LAST_CLAIMS", 2)
    chance = Random(7)  # noqa: S311  # a repeatable order
    for values in product("abc", repeat=6):
        said = list(enumerate(values))
        kept = []
        for _ in range(5):
            told: list[tuple[int, str]] = []
            for one in chance.sample(said, len(said)):
                told = claiming.told_apart(sorted([*told, one]), itemgetter(1))
            kept.append(told)
        assert kept[1:] == kept[:-1], values
        assert len(kept[0]) <= 4
