"""What is registered is whole: a name of its own, a version, collections of its own, and no import side effects."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bson

from projections.catalogue import CATALOGUE, PROJECTIONS
from projections.kinds import Contest, ReadModel, StreamProjection, SumProjection
from tests.unit.projections.events import CODEC_OPTIONS, arrive, event, listed, migrated
from worker.contract.families import FAMILIES
from worker.storage.database import COLLECTIONS
from worker.storage.indexes import INDEXES
from worker.storage.models import MODELS


def test_names_are_unique_and_versions_set() -> None:
    assert len(set(CATALOGUE.names)) == len(PROJECTIONS)
    assert all(each.name.isidentifier() and each.version >= 1 for each in PROJECTIONS)


def test_each_collection_is_written_by_one_projection_and_has_shape_and_indexes() -> None:
    targets = CATALOGUE.targets
    assert len({target.collection for target in targets}) == len(targets)
    for target in targets:
        assert COLLECTIONS[target.collection] == target.database
        assert MODELS[target.collection] == target.shapes
        assert all(index in INDEXES for index in target.indexes)
        assert all(index.collection == target.collection for index in target.indexes)


def test_what_is_counted_is_made_by_a_registered_projection() -> None:
    streams = {each.name for each in CATALOGUE.streams}
    assert all(each.source in streams for each in CATALOGUE.sums)
    assert all(each.source in streams for each in CATALOGUE.contests)


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
    history = arrive(
        [
            event("course_enrolled", 0, curriculum={"total_lessons": 3, "lessons": listed(1, 2, 3)}),
            event("lesson_started", 10, lesson=1, session_id="a"),
            event(
                "view", 70, lesson=1, session_id="a", value=60, details={"time_spent": 60, "progress": 0.9}
            ),
            event("complete", 90, lesson=1, session_id="a"),
            event("quiz_submitted", 200, lesson=2, details={"score": 66.665, "time_taken": 30.5}),
            event("assignment_graded", 300, lesson=2, value=81.5),
            event("discussion_posted", 400),
            event("lesson_note_saved", 500, lesson=1, details={"text": "note"}),
            event("course_rated", 600, value=4),
            event("progress_updated", 700, details={"new_progress": 70, "old_progress": 33, "time_spent": 5}),
            migrated(800, 1, 3, 4, 5),
        ]
    )
    results: dict[str, dict[str, Any]] = {}
    documents = {each.name: each.refold(history, None, "live") for each in CATALOGUE.streams}
    for stream in CATALOGUE.streams:
        results[stream.name] = {"version": stream.version, "digest": _digest(documents[stream.name])}
    for each in CATALOGUE.sums:
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
            assert all(model.model_fields[f"{entity}_id"].is_required() for entity in family.about)


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(bson.encode(_ordered(document), codec_options=CODEC_OPTIONS)).hexdigest()[:32]


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _ordered(value[name]) for name in sorted(value)}
    return [_ordered(each) for each in value] if isinstance(value, list) else value
