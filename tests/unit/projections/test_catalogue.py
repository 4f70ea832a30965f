"""What is registered is whole: a name of its own, a version, collections of its own, and no import side effects."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bson

from projections.catalogue import EVERY, PROJECTIONS, SHARED, catalogue_for
from projections.kinds import Contest, Parts, ReadModel, StreamProjection, SumProjection
from tests.unit.projections.events import CODEC_OPTIONS
from tests.unit.projections.histories import history_of
from worker.contract.families import FAMILIES
from worker.settings import RetentionSettings
from worker.storage.database import collections_of
from worker.storage.indexes import indexes_of
from worker.storage.models import models_of


def test_names_are_unique_and_versions_set() -> None:
    assert len(set(EVERY.names)) == len(PROJECTIONS)
    assert all(each.name.isidentifier() and each.version >= 1 for each in PROJECTIONS)


def test_each_collection_is_written_by_one_projection_and_has_shape_and_indexes() -> None:
    targets = EVERY.targets
    assert len({target.collection for target in targets}) == len(targets)
    for target in targets:
        assert collections_of(EVERY)[target.collection] == target.database
        assert target.collection in SHARED or models_of(EVERY)[target.collection] == target.shapes
        assert all(index in indexes_of(EVERY, RetentionSettings()) for index in target.indexes)
        assert all(index.collection == target.collection for index in target.indexes)


def test_what_is_counted_is_made_by_a_registered_projection() -> None:
    streams = {each.name for each in EVERY.streams}
    assert all(each.source in streams for each in EVERY.sums)
    assert all(each.source in streams for each in EVERY.contests)


def test_the_projections_of_a_shared_collection_are_there_where_it_is_the_workers() -> None:
    """With them whatever is made from their documents; all others are there in any case."""
    of_courses = {"courses", "course_claims"}
    assert of_courses <= set(catalogue_for({"courses"}).names)
    assert of_courses.isdisjoint(catalogue_for(set()).names)
    assert catalogue_for(SHARED).projections == PROJECTIONS
    assert {each.target.collection for each in catalogue_for(set()).streams}.isdisjoint(SHARED)


ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).with_name("golden.json")


def test_each_projection_has_a_row_in_the_documentation() -> None:
    page = (ROOT / "docs" / "projections.md").read_text(encoding="utf-8")
    for each in PROJECTIONS:
        kind = {
            StreamProjection: "stream projection",
            SumProjection: "sum",
            ReadModel: "read model",
            Contest: "contest",
        }[type(each)]
        assert f"| `{each.name}` | {kind} | `{each.targets[0].collection}` |" in page, each.name


def test_the_golden_history_gives_what_it_gave_under_the_same_version() -> None:
    """Another result needs another version: else documents that stand would never be made anew."""
    results: dict[str, dict[str, Any]] = {}
    documents = {each.name: each.refold(history_of(each), None, "live") for each in EVERY.streams}
    for stream in EVERY.streams:
        results[stream.name] = {"version": stream.version, "digest": _digest(documents[stream.name])}
        if stream.parts is not None:
            made = _parts(stream, stream.parts, documents[stream.name])
            results[stream.name]["parts"] = _digest({"parts": made})
    for each in EVERY.sums:
        vector = dict(each.vector(documents[each.source]))
        shown = [one.shown(vector) for one in each.sums]
        results[each.name] = {"version": each.version, "digest": _digest({"vector": vector, "shown": shown})}
    assert results == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_families_have_names_of_their_own_and_events_that_no_other_has() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    types = [name for family in FAMILIES for name in family.events]
    assert len(set(types)) == len(types)
    for family in FAMILIES:
        for model in family.events.values():
            own = [entity for entity in family.about if entity not in family.derived]
            assert all(model.model_fields[f"{entity}_id"].is_required() for entity in own)


def _parts(stream: StreamProjection, parts: Parts, document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parts that the document names, as the executor has them made."""
    events = sorted(history_of(stream), key=lambda each: (each.occurred_at, each.event_id))
    _, made = parts.make(document, parts.named(document).keys(), None, events)
    assert {each["_id"] for each in made} == parts.named(document).keys()
    return list(made)


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(bson.encode(_ordered(document), codec_options=CODEC_OPTIONS)).hexdigest()[:32]


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _ordered(value[name]) for name in sorted(value)}
    return [_ordered(each) for each in value] if isinstance(value, list) else value
