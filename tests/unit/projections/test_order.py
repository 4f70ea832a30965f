"""The same set of events gives the same document, however it arrives."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from bson import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.event import StoredEvent
from projections.progress import ProgressDocument, fold, refold
from tests.unit.projections.events import (
    ALL_TYPES,
    CODEC_OPTIONS,
    VOID,
    arrive,
    content,
    event_sets,
    split,
    stored_document,
)
from worker.contract.events.interactions import EVENT_TYPES
from worker.contract.identity import stream_object_id


def in_store(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as MongoDB gives it back after a write."""
    return stored_document({"_id": stream_object_id(document["stream_id"]), "rev": 1, **document})


def folded(events: list[StoredEvent], cuts: list[int]) -> dict[str, Any]:
    """Fold batch by batch through the store, checking that no input changes on the way."""
    current: dict[str, Any] | None = None
    document: dict[str, Any] = {}
    for batch in split(arrive(events), cuts):
        before = copy.deepcopy((current, batch))
        document = fold(current, batch, "live")
        assert (current, list(batch)) == (before[0], list(before[1]))
        current = in_store(document)
    return document


def stored_bytes(document: Mapping[str, Any]) -> bytes:
    return encode(content(document), codec_options=CODEC_OPTIONS)


@given(event_sets(), st.data())
@settings(max_examples=300, deadline=None)
def test_any_order_any_batches_and_any_voids_give_the_same_bytes(
    events: list[StoredEvent], data: st.DataObject
) -> None:
    at_once = fold(None, arrive(events), "live")
    shuffled = data.draw(st.permutations([*events, *[VOID] * data.draw(st.integers(0, 3))]))
    cuts = data.draw(st.lists(st.integers(1, len(shuffled)), max_size=8))
    document = folded(shuffled, cuts)
    assert content(document) == content(at_once)
    assert stored_bytes(document) == stored_bytes(at_once)
    assert document["version"] == len(shuffled)


@given(event_sets())
@settings(max_examples=100, deadline=None)
def test_every_document_fits_its_model_and_survives_the_store(events: list[StoredEvent]) -> None:
    document = fold(None, arrive(events), "live")
    stored = in_store(document)
    assert {name: stored[name] for name in document} == document
    ProgressDocument.model_validate(stored)


@given(event_sets(), st.integers(1, 25))
@settings(max_examples=100, deadline=None)
def test_folding_again_gives_the_document_that_live_folding_gave(events: list[StoredEvent], cut: int) -> None:
    live = folded(events, [cut])
    assert refold(arrive(events), live, "replay") == live


@pytest.mark.slow
@given(event_sets(), event_sets(max_size=5))
@settings(max_examples=200, deadline=None)
def test_a_milestone_once_reached_is_never_taken_back(
    earlier: list[StoredEvent], later: list[StoredEvent]
) -> None:
    before = fold(None, arrive(earlier), "replay")
    after = fold(before, arrive(later, after=len(earlier)), "live")
    for kind, reached in before["milestones"].items():
        if reached is not None:
            assert after["milestones"][kind]["by"] == "replay"
            assert after["milestones"][kind]["at"] <= reached["at"]


def test_the_generated_events_cover_every_type_of_the_contract() -> None:
    assert set(EVENT_TYPES) == ALL_TYPES
