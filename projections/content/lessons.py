"""`lesson_content`: a content item of a lesson; its `type` says of which kind it is, and what `content` has."""

from collections.abc import Mapping
from typing import Any

from projections.content.described import (
    Effect,
    State,
    has_begun,
    latest,
    made,
    open_state,
    order_of,
    removed,
    shown_fields,
    take,
)
from projections.content.documents import LESSON_SHAPES, VideoLesson
from projections.content.reading import of_markdown
from projections.event import StoredEvent, read_paths
from projections.kinds import Document, Index, Rules, StreamProjection, Target
from projections.merging import Order, hide, merge
from projections.streams import StreamFold

_COLLECTION = "lesson_content"
_SAID = ("title", "description", "content", "metadata")
_FIELDS = ("lesson_id", *_SAID)


def opened(current: Mapping[str, Any] | None) -> State:
    """What a reading time was computed of is read again: it is no word of an event."""
    state: State = {"types": {}} | open_state(current, _FIELDS)
    state["types"] = dict(state["types"])
    content = state["values"].get("content", {})
    if "reading_time" in content and not _is_said(state, "reading_time"):
        del content["reading_time"]
    return state


def described(state: State, event: StoredEvent) -> None:
    """What the event says of the item; content of another kind that was said before is gone."""
    take(state, event, _SAID)
    _show_lesson(state, event)
    types = state["types"]
    kind = event.details["type"]
    types[kind] = latest(types.get(kind), event)
    others = [types[each] for each in types if each != _kind(types)]
    if others:
        at, event_id = max(others)
        hide(state["stamps"], state["values"], "content", (at, event_id))


def created(state: State, event: StoredEvent) -> None:
    """The item is there from now on, as the event describes it."""
    described(state, event)
    made(state, event)


def deleted(state: State, event: StoredEvent) -> None:
    """The item is there no more; what it was stays to be read."""
    take(state, event, ())
    removed(state, event)


_EFFECTS: Mapping[str, Effect] = {
    "lesson_content_created": created,
    "lesson_content_changed": described,
    "lesson_content_deleted": deleted,
}


def apply(state: State, event: StoredEvent) -> None:
    """Take an event; KeyError for one of no lesson's."""
    _EFFECTS[event.event_type](state, event)


def shown(state: State) -> Document:
    """All fields: an article without a reading time gets the one that its text takes."""
    fields = shown_fields(state, _FIELDS)
    kind, content = _kind(state["types"]), fields["content"]
    if kind == "article" and content is not None and "reading_time" not in content:
        text = content.get("markdown_content")
        if isinstance(text, str):
            fields["content"] = content | {"reading_time": of_markdown(text).reading_time}
    fields["state"]["types"] = dict(sorted(state["types"].items()))
    return {"type": kind, **fields}


def _kind(types: Mapping[str, Any]) -> str | None:
    """The one that was named last."""
    return max(types, key=lambda each: types[each]) if types else None


def _show_lesson(state: State, event: StoredEvent) -> None:
    if event.lesson_id is not None:
        order: Order = order_of(event)
        merge(state["stamps"], state["values"], {"lesson_id": event.lesson_id}, order)


def _is_said(state: State, name: str) -> bool:
    """Whether an event gave this field of the content."""
    stamp = state["stamps"].get("content") or []
    fields = stamp[2] if len(stamp) > 2 else {}
    return name in fields


_FOLD = StreamFold(1, opened, apply, shown)

LESSON_CONTENT = StreamProjection(
    name="lesson_content",
    version=_FOLD.version,
    about=("content",),
    target=Target(
        _COLLECTION,
        LESSON_SHAPES,
        (Index(_COLLECTION, "idx_lesson_content_lesson", (("lesson_id", 1),)),),
    ),
    paths=tuple(name for name in VideoLesson.model_fields if name not in ("id", "rev")),
    fold=_FOLD.fold,
    refold=_FOLD.refold,
    event_paths=read_paths(("type", *_SAID)),
    rules=Rules(apply, _EFFECTS),
    begun=has_begun,
)
