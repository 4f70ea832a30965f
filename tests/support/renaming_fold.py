"""Folds that have documents claim other names than they did, to be built beside the live documents by their name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from projections.account.projection import USERS
from projections.content.courses.projection import COURSES
from projections.event import StoredEvent
from projections.kinds import By, Document, StreamProjection

_OTHER = {"jane": "john", "john": "jane"}


def renaming(projection: StreamProjection, field: str) -> StreamProjection:
    """Who claims to be Jane is John, and the other way round."""

    def renamed(document: Document) -> Document:
        if (asked := document["claims"].get(field)) is not None:
            value = _OTHER.get(asked["value"], asked["value"])
            document["claims"] = {**document["claims"], field: {**asked, "value": value}}
        return document

    def fold(current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: By) -> Document:
        return renamed(projection.fold(current, events, by))

    def refold(events: Sequence[StoredEvent], keep: Mapping[str, Any] | None, by: By) -> Document:
        return renamed(projection.refold(events, keep, by))

    return replace(projection, fold=fold, refold=refold)


RENAMING = renaming(USERS, "username")
RENAMING_COURSES = renaming(COURSES, "slug")
