"""The same events about content give the same document in any order of arrival, and it is what the oracle says."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from projections.content.blocks import CONTENT_BLOCKS
from projections.content.lessons import LESSON_CONTENT
from projections.content.relationships import CONTENT_RELATIONSHIPS
from projections.content.workflow import CONTENT_WORKFLOW
from projections.event import StoredEvent
from projections.kinds import Document, StreamProjection
from tests.oracle.content import expected_block, expected_lesson, expected_relationship, expected_workflow
from tests.oracle.finding import unequal
from tests.unit.projections.content.events import ITEM, LESSON, USER, content_document, folded, stored_bytes
from tests.unit.projections.events import STORED_AT, arrive, stored_document
from worker.contract.identity import stream_object_id
from worker.storage.documents import void_document

_TIMES = st.integers(0, 8).map(lambda quarter: quarter * 900)
_TEXTS = st.sampled_from(["", "One two three.", "# Heading\n\n- item one\n- item two", "Ending? 算法 `x`"])


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def _or_null(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values)


_KINDS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, st.SearchStrategy[Any]]]] = {
    "video": (
        {"video_url": "https://v.example/1"},
        {
            "video_url": st.just("https://v.example/2"),
            "duration": st.sampled_from([600, 60.0, 0.5]),
            "chapters": st.just([{"title": "a", "start_time": 0}]),
        },
    ),
    "article": (
        {"markdown_content": "one two"},
        {"markdown_content": _TEXTS, "reading_time": st.integers(1, 3)},
    ),
    "quiz": ({"questions": []}, {"time_limit": st.just(300.0), "questions": st.just([{"question": "why?"}])}),
    "interactive": ({"editor_type": "code"}, {"hints": st.just(["a"]), "difficulty": st.just("beginner")}),
    "assignment": ({"instructions": "do"}, {"max_points": st.integers(1, 9)}),
}
_LESSON_METADATA = _some(
    estimated_completion_time=_or_null(st.integers(1, 9)),
    success_criteria=_or_null(_some(code_runs=_or_null(st.booleans()), own=st.just({"x": 1.0}))),
)


def _lesson_created(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    needed, optional = _KINDS[kind]
    return st.fixed_dictionaries(
        {
            "type": st.just(kind),
            "title": st.sampled_from(["one", "two"]),
            "content": st.fixed_dictionaries(
                {name: st.just(each) for name, each in needed.items()},
                optional={name: each for name, each in optional.items() if name not in needed},
            ),
        },
        optional={"metadata": _LESSON_METADATA},
    )


def _lesson_changed(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    optional = {name: _or_null(each) for name, each in _KINDS[kind][1].items()}
    return st.fixed_dictionaries(
        {"type": st.just(kind)},
        optional={
            "title": st.sampled_from(["three", "four"]),
            "description": _or_null(st.just("described")),
            "content": _or_null(_some(**optional)),
            "metadata": _or_null(_LESSON_METADATA),
        },
    )


_KIND = st.sampled_from(sorted(_KINDS))
_CONFIG = _some(editor_type=_or_null(st.just("html")), features=_or_null(_some(a=_or_null(st.booleans()))))
_BLOCK = {
    "version": st.sampled_from(["1.0", "1.1"]),
    "config": _CONFIG,
    "content": _some(markdown=_TEXTS, html=_TEXTS, metadata=st.just({"word_count": 99})),
    "interactive_elements": st.just(
        [{"type": "quiz_embed", "quiz_id": ITEM, "position": {"line": 2.0, "column": 0}}]
    ),
    "media_assets": st.just([{"type": "image", "url": "https://c.example/1"}]),
    "assessment": _some(learning_objectives=st.just(["know"])),
}
_RULES = _some(
    prerequisites=_or_null(st.lists(st.sampled_from([ITEM, LESSON.upper()]), max_size=2)),
    conditions=_or_null(
        st.just([{"type": "quiz_score", "target_id": ITEM, "operator": ">=", "value": 80.0}])
    ),
)
_RELATIONSHIP = {
    "order": st.sampled_from([1, 2.0]),
    "display_rules": _RULES,
    "adaptive_params": _some(personalization_weight=_or_null(st.sampled_from([0.7, 1.0]))),
}
_STAGES = ("draft", "review", "approval")
_STAGE = st.sampled_from([*_STAGES, *_STAGES, "unknown"])
_STARTS = st.fixed_dictionaries(
    {
        "content_id": st.just(ITEM),
        "workflow_type": st.sampled_from(["course_publication", "revision"]),
        "stages": st.just(
            [{"name": name, "assigned_to": USER, "due_date": "2024-04-01T00:00:00Z"} for name in _STAGES]
        ),
    },
    optional={
        "metadata": _some(
            priority=st.just("high"),
            stakeholders=st.just([USER]),
            estimated_completion=st.just("2024-05-01T02:00:00.5+02:00"),
            own=st.just({"b": 1.0, "a": 2}),
        )
    },
)
_ONLY_STAGE = st.fixed_dictionaries({"stage": _STAGE})

_HISTORIES: Mapping[str, Mapping[str, st.SearchStrategy[Any]]] = {
    "lesson_content": {
        "lesson_content_created": _KIND.flatmap(_lesson_created),
        "lesson_content_changed": _KIND.flatmap(_lesson_changed),
        "lesson_content_deleted": st.none(),
    },
    "content_blocks": {
        "content_block_created": st.fixed_dictionaries({"type": st.just("rich_text")}, optional=_BLOCK),
        "content_block_changed": _some(
            type=st.just("callout"), **{name: _or_null(each) for name, each in _BLOCK.items()}
        ),
        "content_block_deleted": st.none(),
    },
    "content_relationships": {
        "content_related": st.fixed_dictionaries(
            {
                "parent_id": st.just(ITEM),
                "child_id": st.sampled_from([LESSON, USER]),
                "relationship_type": st.sampled_from(["contains", "requires"]),
            },
            optional=_RELATIONSHIP,
        ),
        "content_relationship_changed": _some(
            **{name: _or_null(each) for name, each in _RELATIONSHIP.items()}
        ),
        "content_unrelated": st.none(),
    },
    "content_workflow": {
        "workflow_started": _STARTS,
        "workflow_stage_started": _ONLY_STAGE,
        "workflow_stage_completed": _ONLY_STAGE,
        "workflow_stage_rejected": st.fixed_dictionaries({"stage": _STAGE}, optional={"return_to": _STAGE}),
        "workflow_stage_assigned": st.fixed_dictionaries(
            {"stage": _STAGE},
            optional={
                "assigned_to": _or_null(st.sampled_from([USER, ITEM])),
                "due_date": _or_null(st.just("2024-06-01T00:00:00Z")),
            },
        ),
        "workflow_commented": st.fixed_dictionaries(
            {"stage": _STAGE, "comment": st.text(max_size=3), "author": st.just(USER)}
        ),
        "workflow_cancelled": st.none(),
    },
}
_EXPECTED: Mapping[str, tuple[StreamProjection, Callable[..., Any]]] = {
    "lesson_content": (LESSON_CONTENT, expected_lesson),
    "content_blocks": (CONTENT_BLOCKS, expected_block),
    "content_relationships": (CONTENT_RELATIONSHIPS, expected_relationship),
    "content_workflow": (CONTENT_WORKFLOW, expected_workflow),
}


@st.composite
def histories(draw: st.DrawFn, name: str) -> list[Document]:
    """Events of one stream in no order, among them the one that it begins with, and perhaps usual steps."""
    types = _HISTORIES[name]
    first, *_ = types
    drawn = [first, *draw(st.lists(st.sampled_from(sorted(types)), max_size=14))]
    if name == "content_workflow" and draw(st.booleans()):
        usual = [(f"workflow_stage_{step}", stage) for stage in _STAGES for step in ("started", "completed")]
        usual = usual[: draw(st.integers(1, len(usual)))]
    else:
        usual = []
    numbers = draw(st.permutations(range(1, 1 + len(drawn) + len(usual))))
    documents = [
        content_document(each, draw(_TIMES), number=number, **_details(draw(types[each])))
        for each, number in zip(drawn, numbers, strict=False)
    ]
    return documents + [
        content_document(each, 100 * place, number=1_000 + place, details={"stage": stage})
        for place, (each, stage) in enumerate(usual)
    ]


def _details(drawn: dict[str, Any] | None) -> dict[str, Any]:
    return {} if drawn is None else {"details": drawn}


@pytest.mark.parametrize("name", _EXPECTED)
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_order_of_arrival_gives_the_document_of_the_oracle(name: str, data: st.DataObject) -> None:
    projection, expect = _EXPECTED[name]
    history = data.draw(histories(name))
    events = [StoredEvent.from_document(each) for each in history]
    void = stored_document(void_document(history[0]["stream_id"], 1, STORED_AT))
    at_once = folded(projection, events)
    arrived = data.draw(st.permutations([*events, StoredEvent.from_document(void)]))
    cuts = data.draw(st.lists(st.integers(1, len(arrived)), max_size=5))
    document = folded(projection, arrived, cuts)
    assert stored_bytes(document) == stored_bytes(at_once)
    assert projection.refold(arrive(arrived), None, "replay") == document
    assert list(unequal(name, expect(history), document)) == []
    assert set(document) == set(projection.paths)
    assert projection.begun is not None
    assert projection.begun(document)
    _fits(projection, document)


def _fits(projection: StreamProjection, document: Document) -> None:
    """One of the shapes, of which the validator is made."""
    whole = stored_document({"_id": stream_object_id(document["stream_id"]), "rev": 1, **document})

    def fits(shape: type[BaseModel]) -> bool:
        try:
            shape.model_validate(whole)
        except ValueError:
            return False
        return True

    assert any(map(fits, projection.target.shapes)), document


@pytest.mark.parametrize("name", _EXPECTED)
def test_neither_argument_of_a_fold_is_changed(name: str) -> None:
    projection, _ = _EXPECTED[name]
    first, second, *_ = _HISTORIES[name]
    made = content_document(first, details=_EXAMPLES[name])
    document = projection.fold(None, arrive([StoredEvent.from_document(made)]), "live")
    before = stored_bytes(document)
    later = StoredEvent.from_document(content_document(second, 10, details=_CHANGES[name]))
    projection.fold(document, arrive([later], after=1), "live")
    assert stored_bytes(document) == before
    with pytest.raises(ValueError, match="expected version"):
        projection.fold(document, [replace(later, version=3)], "live")


_EXAMPLES: Mapping[str, dict[str, Any]] = {
    "lesson_content": {"type": "article", "title": "t", "content": {"markdown_content": "one"}},
    "content_blocks": {
        "type": "rich_text",
        "content": {"markdown": "one"},
        "config": {"features": {"a": True}},
    },
    "content_relationships": {
        "parent_id": ITEM,
        "child_id": USER,
        "relationship_type": "contains",
        "display_rules": {"prerequisites": [ITEM]},
    },
    "content_workflow": {
        "content_id": ITEM,
        "workflow_type": "revision",
        "stages": [{"name": "draft"}],
    },
}
_CHANGES: Mapping[str, dict[str, Any]] = {
    "lesson_content": {"type": "article", "content": {"markdown_content": "two words"}},
    "content_blocks": {"content": {"markdown": "two words"}, "config": {"features": {"a": None, "b": 1}}},
    "content_relationships": {"display_rules": {"prerequisites": None}},
    "content_workflow": {"stage": "draft"},
}
