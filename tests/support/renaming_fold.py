"""A fold that has users claim other names than they did, to be built beside the live documents by its name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from projections.account.projection import USERS
from projections.event import StoredEvent
from projections.kinds import By, Document

_OTHER = {"jane": "john", "john": "jane"}


def _renamed(document: Document) -> Document:
    """Who claims to be Jane is John, and the other way round."""
    if (asked := document["claims"].get("username")) is not None:
        value = _OTHER.get(asked["value"], asked["value"])
        document["claims"] = {**document["claims"], "username": {**asked, "value": value}}
    return document


def _fold(current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: By) -> Document:
    return _renamed(USERS.fold(current, events, by))


def _refold(events: Sequence[StoredEvent], keep: Mapping[str, Any] | None, by: By) -> Document:
    return _renamed(USERS.refold(events, keep, by))


RENAMING = replace(USERS, fold=_fold, refold=_refold)
