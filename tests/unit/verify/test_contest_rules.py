"""What `verify` expects of contests, found a second way, is what the contests decide."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.catalogue import EVERY
from projections.contests import decide_afresh
from projections.kinds import Contest
from tests.unit.projections.content.test_relationships import edge
from tests.unit.projections.events import moment
from tests.unit.projections.test_claims import CONTEST, asking, identity
from worker.verify.contest_rules import rule_of

CYCLES = next(each for each in EVERY.contests if each.name == "content_cycles")


def expected(contest: Contest, documents: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    """As the contest decides, with None for what it gives nobody."""
    decided = decide_afresh(contest, documents)
    return {
        each: {path: one.values.get(path) for path in contest.paths}
        for each, one in decided.items()
        if one is not None
    }


_CLAIMS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.dictionaries(st.sampled_from(CONTEST.paths), st.sampled_from(["a", "b", "c"])),
    ),
    max_size=8,
)


@given(_CLAIMS, st.booleans())
@settings(max_examples=200, deadline=None)
def test_of_claims(drawn: list[tuple[int, dict[str, str]]], platform: bool) -> None:
    documents = [asking(number, at, **values) for number, (at, values) in enumerate(drawn)]
    if platform:
        documents.append({"_id": identity(99), "mail": "a"})
    assert rule_of(CONTEST).expected(documents) == expected(CONTEST, documents)


_EDGES = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 3), st.booleans()), max_size=25
)


@given(_EDGES)
@settings(max_examples=200, deadline=None)
def test_of_edges(drawn: list[tuple[int, int, int, bool]]) -> None:
    documents = []
    for number, (parent, child, at, gone) in enumerate(drawn):
        one = edge(number, parent, child, at)
        documents.append(one | {"deleted_at": moment(9)} if gone else one)
    assert rule_of(CYCLES).expected(documents) == expected(CYCLES, documents)


@pytest.mark.parametrize(
    "odd", [{"mail": "text"}, {"mail": {"value": 3, "at": moment(0), "event_id": UUID(int=1)}}]
)
def test_a_document_that_makes_no_sense_contends_for_nothing(odd: dict[str, Any]) -> None:
    documents = [{"_id": identity(1), "claims": odd}, asking(2, 5, mail="a")]
    assert rule_of(CONTEST).expected(documents) == {identity(2): {"name": None, "mail": "a"}}
    edges = [edge(1, 1, 2) | {"since": "then"}, edge(2, 2, 1)]
    found = rule_of(CYCLES).expected(edges)
    assert found[edges[1]["_id"]] == {"effective": True, "reason": None}


def test_every_contest_names_a_rule_that_is_known() -> None:
    assert EVERY.contests
    for contest in EVERY.contests:
        assert rule_of(contest).expected([]) == {}
