"""`content_blocks`: a piece of which courses are put together, with what is computed of its text."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from projections.content.described import (
    Effect,
    State,
    has_begun,
    made,
    open_state,
    removed,
    shown_fields,
    take,
)
from projections.content.documents import BlockDocument
from projections.content.reading import of_html, of_markdown
from projections.event import StoredEvent, read_paths
from projections.kinds import Document, Index, Rules, StreamProjection, Target
from projections.merging import merge
from projections.streams import StreamFold

_COLLECTION = "content_blocks"
_SAID = ("type", "config", "content", "interactive_elements", "media_assets", "assessment")
_FIELDS = (*_SAID, "block_version")
_IDS = (("interactive_elements", "*", "quiz_id"),)


def opened(current: Mapping[str, Any] | None) -> State:
    """What was computed of the text is no word of an event, and is computed again."""
    state = open_state(current, _FIELDS)
    content = state["values"].get("content")
    if content is not None:
        del content["metadata"]
        if not content:
            del state["values"]["content"]
    return state


def described(state: State, event: StoredEvent) -> None:
    """What the event says of the block. Its `version` is called `block_version`: `version` counts events."""
    details = dict(event.details)
    content = details.get("content")
    if isinstance(content, Mapping):
        details["content"] = {name: each for name, each in content.items() if name != "metadata"}
    take(state, event, _SAID, details=details, ids=_IDS)
    if "version" in details:
        order = (event.occurred_at, event.event_id)
        merge(state["stamps"], state["values"], {"block_version": details["version"]}, order)


def created(state: State, event: StoredEvent) -> None:
    """The block is there from now on, as the event describes it."""
    described(state, event)
    made(state, event)


def deleted(state: State, event: StoredEvent) -> None:
    """The block is there no more; what it was stays to be read."""
    take(state, event, ())
    removed(state, event)


_EFFECTS: Mapping[str, Effect] = {
    "content_block_created": created,
    "content_block_changed": described,
    "content_block_deleted": deleted,
}


def apply(state: State, event: StoredEvent) -> None:
    """Take an event; KeyError for one of no block's."""
    _EFFECTS[event.event_type](state, event)


def shown(state: State) -> Document:
    """All fields, and what follows from the text: the Markdown where there is some, else the HTML."""
    fields = shown_fields(state, _FIELDS)
    content = fields["content"]
    if content is not None:
        fields["content"] = content | {"metadata": _measures(content)}
    return fields


def _measures(content: Mapping[str, Any]) -> Document:
    markdown, text = content.get("markdown"), content.get("html")
    measures = of_markdown(markdown) if markdown is not None else of_html(text or "")
    return asdict(measures)


_FOLD = StreamFold(1, opened, apply, shown)

CONTENT_BLOCKS = StreamProjection(
    name="content_blocks",
    version=_FOLD.version,
    about=("block",),
    target=Target(
        _COLLECTION, (BlockDocument,), (Index(_COLLECTION, "idx_content_blocks_type", (("type", 1),)),)
    ),
    paths=tuple(name for name in BlockDocument.model_fields if name not in ("id", "rev")),
    fold=_FOLD.fold,
    refold=_FOLD.refold,
    event_paths=read_paths((*_SAID, "version")),
    rules=Rules(apply, _EFFECTS),
    begun=has_begun,
)
