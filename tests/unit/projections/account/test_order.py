"""The same things that happened to an account give the same document, however they arrive."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bson import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.account.document import UserDocument
from projections.account.projection import USERS
from projections.event import StoredEvent
from projections.paths import at
from tests.support.accounts import DETAILS, STREAM, lives
from tests.unit.projections.events import CODEC_OPTIONS, VOID, arrive, content, split, stored_document
from worker.contract.events.accounts import ACCOUNTS
from worker.contract.identity import stream_object_id

HOLE = replace(VOID, stream_id=STREAM, user_id=None, course_id=None)


def in_store(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as MongoDB gives it back, of what the fold owns."""
    stored = stored_document({"_id": stream_object_id(document["stream_id"]), "rev": 1, **document})
    return {name: value for name, value in stored.items() if name != "stats"}


def folded(events: list[StoredEvent], cuts: list[int]) -> dict[str, Any]:
    """Fold batch by batch through the store, checking that no input changes on the way."""
    current: dict[str, Any] | None = None
    document: dict[str, Any] = {}
    for batch in split(arrive(events), cuts):
        before = copy.deepcopy((current, batch))
        document = USERS.fold(current, batch, "live")
        assert (current, list(batch)) == (before[0], list(before[1]))
        current = in_store(document)
    return document


@given(lives(), st.data())
@settings(max_examples=300, deadline=None)
def test_any_order_any_batches_and_any_voids_give_the_same_bytes(
    events: list[StoredEvent], data: st.DataObject
) -> None:
    at_once = USERS.fold(None, arrive(events), "live")
    shuffled = data.draw(st.permutations([*events, *[HOLE] * data.draw(st.integers(0, 3))]))
    cuts = data.draw(st.lists(st.integers(1, len(shuffled)), max_size=8))
    document = folded(shuffled, cuts)
    assert content(document) == content(at_once)
    assert _bytes(document) == _bytes(at_once)
    assert USERS.refold(arrive(shuffled), document, "replay") == document


@given(lives())
@settings(max_examples=150, deadline=None)
def test_every_document_fits_its_model_and_has_every_path_that_is_the_folds(
    events: list[StoredEvent],
) -> None:
    document = USERS.fold(None, arrive(events), "live")
    stored = in_store(document)
    assert {name: stored[name] for name in document} == document
    UserDocument.model_validate(stored)
    assert all(at(document, path) is not None or path for path in USERS.paths)
    assert {path.partition(".")[0] for path in USERS.paths} == document.keys()


def test_the_generated_events_cover_every_type_of_the_family() -> None:
    assert set(ACCOUNTS.events) == DETAILS.keys()


def _bytes(document: Mapping[str, Any]) -> bytes:
    return encode(content(document), codec_options=CODEC_OPTIONS)
