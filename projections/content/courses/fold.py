"""From a course's document and the next events of its stream to the document after them.

The same set of events gives the same document in any order of arrival, in any split into batches and with voids
anywhere; only `version` and `recorded_at` tell how they arrived. Rules: docs/projections.md.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from projections.content.courses.content import (
    FIELDS,
    Content,
    claimed_slug,
    empty_content,
    opened_copy,
    prices_aside,
    prices_refused,
    shown_content,
    take,
)
from projections.content.courses.pricing import PRICE_UNLIKE_TYPE, SAID_BY
from projections.content.courses.steps import CHANGELOG_SHOWN, Life, Step, judged, order, step_of, with_step
from projections.event import OPENING, StoredEvent
from projections.kinds import Document
from projections.merging import closed
from projections.paths import ABSENT, at
from projections.streams import StreamFold
from projections.without_effect import entry, without_effect

_OF_INSTRUCTOR: Final = ("bio", "credentials")


def has_begun(fields: Document) -> bool:
    """Whether the course was created, or adopted: changes that came before that wait for it."""
    return (
        fields["status"] is not None and fields["title"] is not None and fields["instructor_id"] is not None
    )


def adopted_at(fields: Document) -> datetime | None:
    """When an event said last what the platform's document was."""
    return max((step["at"] for step in fields["state"]["steps"] if step["type"] == OPENING), default=None)


def content_in(document: Mapping[str, Any] | None) -> Content:
    """The content that a document of this fold shows, or keeps aside, to be gone on from."""
    if document is None:
        return empty_content()
    values = {name: document[name] for name in FIELDS if document.get(name) is not None}
    if "instructor" in values:
        parts = {name: at(document, f"instructor.{name}") for name in _OF_INSTRUCTOR}
        values["instructor"] = {name: each for name, each in parts.items() if each not in (ABSENT, None)}
    state = document["state"]
    if "aside" in state:
        shown = values.get("pricing")
        values["pricing"] = {**(shown if isinstance(shown, Mapping) else {}), **state["aside"]}
    return opened_copy(
        Content(values=values, stamps=state["stamps"], slugs=state["slugs"], changed_at=state["changed_at"])
    )


def _opened(document: Mapping[str, Any] | None) -> dict[str, Any]:
    steps = () if document is None else document["state"]["steps"]
    return {"content": content_in(document), "steps": list(steps)}


def _apply(state: dict[str, Any], event: StoredEvent) -> None:
    if (step := step_of(event)) is not None:
        with_step(state["steps"], step)
    take(state["content"], event)


def _shown(state: dict[str, Any]) -> Document:
    content: Content = state["content"]
    kept = {
        "stamps": closed(content["stamps"]),
        "slugs": content["slugs"],
        "changed_at": content["changed_at"],
        "steps": state["steps"],
    }
    if aside := prices_aside(content):
        kept["aside"] = aside  # no field of the document has it, and it may be shown again
    life = judged(state["steps"])
    refused = [*_refused_steps(life), *_refused_prices(content, state["steps"], life)]
    return {"state": kept, **_visible(content, life), "without_effect": without_effect(refused)}


def _visible(content: Content, life: Life) -> Document:
    """What readers see. What nobody has said is null; a curriculum that nobody has published has no modules."""
    values = shown_content(content)
    presented = values.get("instructor") or {}
    claimed = _claim(content, life)
    dates = [each for each in (content["changed_at"], life.touched_at) if each is not None]
    return {
        **{name: values.get(name) for name in FIELDS},
        "curriculum": values.get("curriculum") or [],
        "instructor": {
            "user_id": values.get("instructor_id"),
            **{name: presented.get(name) for name in _OF_INSTRUCTOR},
        },
        "status": life.status,
        "publication": _publication(life),
        "claims": {} if claimed is None else {"slug": claimed},
        "created_at": life.created_at,
        "updated_at": max(dates, default=None),
        "deleted_at": life.deleted_at,
    }


def _refused_steps(life: Life) -> list[Document]:
    return [entry(step["id"], step["type"], step["at"], reason) for step, reason in life.refused]


def _refused_prices(content: Content, steps: Sequence[Step], life: Life) -> list[Document]:
    """Each event whose price or plans are not shown, once, and not again where it is a step without effect.

    What else such an event does has its effect. A step that is not kept any more is taken for one that only priced.
    """
    found = set(prices_refused(content).values())
    if not found:
        return []
    types = {step["id"]: step["type"] for step in steps}
    listed = {step["id"] for step, _ in life.refused}
    return [
        entry(event_id, types.get(event_id, SAID_BY), at, PRICE_UNLIKE_TYPE)
        for at, event_id in found
        if event_id not in listed
    ]


def _claim(content: Content, life: Life) -> Document | None:
    """A course that is deleted claims no slug; one that was restored has claimed it since then at the earliest."""
    claimed, restored = claimed_slug(content), life.restored
    if claimed is None or life.deleted_at is not None:
        return None
    if restored is None or order(restored) < (claimed["at"], claimed["event_id"].bytes):
        return claimed
    return {**claimed, "at": restored["at"], "event_id": restored["id"]}


def _publication(life: Life) -> Document:
    return {
        "status": life.status,
        "published_at": life.published_at,
        "version": life.live,
        "last_updated": life.moved_at,
        "next_update_scheduled": life.next_update,
        "changelog": list(life.changelog())[:CHANGELOG_SHOWN],
    }


COURSES_FOLD = StreamFold(version=5, opened=_opened, apply=_apply, shown=_shown)
"""Its version goes up with every change of a rule or of the state: documents of an older one are folded anew."""
