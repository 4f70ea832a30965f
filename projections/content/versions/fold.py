"""From the events of a course to the history of its versions.

The same events give the same history in any order of arrival, in any split into batches and with voids anywhere; only
`version`, `recorded_at`, and what in `state` tells which event arrived when, differ. Rules: docs/projections.md.
"""

from collections.abc import Mapping
from typing import Any, Final

from bson import ObjectId

from projections.content.versions.history import History, Version, history_of, with_event
from projections.event import StoredEvent
from projections.kinds import Document
from projections.streams import StreamFold
from projections.without_effect import entry, without_effect
from worker.contract.identity import foreign_object_id

VERSIONS_SHOWN: Final = 100
"""A list for people, newest first: years of a course that has a version every other week, in some 10 KB."""


def has_begun(fields: Document) -> bool:
    """A course without versions has no history of them."""
    return bool(fields["versions"]) or fields["without_effect"] is not None


def stored_history(document: Mapping[str, Any]) -> History:
    """The history that a document tells of, all of it."""
    state = document["state"]
    return history_of(state["steps"], state["dropped_at"])


def version_id(course: ObjectId, label: str) -> ObjectId:
    """`_id` of a version's document."""
    return foreign_object_id(f"course_{course}:{label}")


def named(document: Mapping[str, Any]) -> Mapping[ObjectId, int]:
    """The documents of all versions, each with the version of the event that made it what it is."""
    course, versions = document["entity_id"], stored_history(document).versions
    return {version_id(course, label): each.made_by for label, each in versions.items()}


def _opened(document: Mapping[str, Any] | None) -> dict[str, Any]:
    if document is None:
        return {"course": None, "steps": [], "dropped_at": 0}
    return {"course": document["entity_id"], **document["state"], "steps": [*document["state"]["steps"]]}


def _apply(state: dict[str, Any], event: StoredEvent) -> None:
    state["course"] = event.course_id
    if with_event(state["steps"], event):
        state["dropped_at"] = event.version


def _shown(state: dict[str, Any]) -> Document:
    history = history_of(state["steps"], state["dropped_at"])
    newest = list(history.versions.values())[: -VERSIONS_SHOWN - 1 : -1]
    refused = [entry(step["id"], step["type"], step["at"], reason) for step, reason in history.refused]
    return {
        "entity_type": "course",
        "entity_id": state["course"],
        "versions": [_listed(each, history.current) for each in newest],
        "versions_total": len(history.versions),
        "current_version": history.current,
        "without_effect": without_effect(refused),
        "state": {"steps": state["steps"], "dropped_at": state["dropped_at"]},
    }


def _listed(version: Version, current: str | None) -> Document:
    shown = "archived" if version.status == "deployed" else version.status
    return {
        "version": version.label,
        "created_at": version.created_at,
        "status": "current" if version.label == current else shown,
    }


VERSIONS_FOLD = StreamFold(version=2, opened=_opened, apply=_apply, shown=_shown)
"""Its version goes up with every change of a rule or of the state: documents of an older one are folded anew."""
