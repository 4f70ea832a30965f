"""Every stream projection there is: the same events give the same document in any order of arrival.

What each one makes of its events is tested beside it; here no new one can be forgotten.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from bson import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.catalogue import EVERY
from projections.content.versions.projection import COURSE_VERSIONS
from projections.event import StoredEvent
from projections.kinds import Document, StreamProjection
from tests.unit.projections.events import CODEC_OPTIONS, STORED_AT, arrive, content, split, stored_document
from tests.unit.projections.histories import history_of
from worker.contract.identity import stream_object_id
from worker.storage.documents import void_document
from worker.verify.shapes import misfits_of

OF_ARRIVAL = {COURSE_VERSIONS.name: ("state",)}
"""By projection what besides tells how events arrived: the versions know which of them came last."""

every_projection = pytest.mark.parametrize("projection", EVERY.streams, ids=lambda each: each.name)


def folded(projection: StreamProjection, events: Sequence[StoredEvent], cuts: Iterable[int]) -> Document:
    """The document after these events, in batches that go through the store."""
    current: Document | None = None
    document: Document = {}
    for batch in split(arrive(events), cuts):
        document = projection.fold(current, batch, "live")
        current = in_store(document)
    return document


def in_store(document: Mapping[str, Any]) -> Document:
    return stored_document({"_id": stream_object_id(document["stream_id"]), "rev": 1, **document})


def same_bytes(projection: StreamProjection, document: Mapping[str, Any]) -> bytes:
    """All of it but for how events arrived."""
    left_out = OF_ARRIVAL.get(projection.name, ())
    kept = {name: value for name, value in content(document).items() if name not in left_out}
    return encode(kept, codec_options=CODEC_OPTIONS)


def parts_of(projection: StreamProjection, document: Document, events: Sequence[StoredEvent]) -> list[bytes]:
    """The bytes of the further documents, as the executor has them made."""
    if projection.parts is None:
        return []
    ordered = sorted(events, key=lambda each: (each.occurred_at, each.event_id))
    _, made = projection.parts.make(document, projection.parts.named(document).keys(), None, ordered)
    return sorted(encode(each, codec_options=CODEC_OPTIONS) for each in made)


@every_projection
@given(data=st.data())
@settings(max_examples=30)
def test_any_order_any_batches_and_any_voids_give_the_same_bytes(
    projection: StreamProjection, data: st.DataObject
) -> None:
    history = history_of(projection)
    void = stored_document(void_document(history[0].stream_id, 1, STORED_AT))
    voids = [StoredEvent.from_document(void)] * data.draw(st.integers(0, 2))
    arrived = data.draw(st.permutations([*history, *voids]))
    cuts = data.draw(st.lists(st.integers(1, len(arrived)), max_size=5))

    at_once = projection.refold(arrive(history), None, "live")
    document = folded(projection, arrived, cuts)

    assert same_bytes(projection, document) == same_bytes(projection, at_once)
    assert parts_of(projection, document, history) == parts_of(projection, at_once, history)
    assert document["version"] == len(arrived)
    assert projection.refold(arrive(arrived), in_store(document), "replay") == document


@every_projection
def test_a_golden_history_makes_a_document_that_its_validator_takes(projection: StreamProjection) -> None:
    """Else what is tested by it would be nothing, or no document of the store."""
    document = projection.refold(arrive(history_of(projection)), None, "live")
    assert projection.has_begun(document)
    assert misfits_of(projection.target.shapes, in_store(document)) == []
