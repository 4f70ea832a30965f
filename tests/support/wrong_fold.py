"""A fold that is wrong for every second learner, to be built beside the live documents by its name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from projections.event import StoredEvent
from projections.kinds import By, Document
from projections.progress.projection import PROGRESS


def _wrong(document: Document) -> Document:
    """Every second learner is told to be nearly done."""
    if int(str(document["user_id"]), 16) % 2:
        document["progress"] = {**document["progress"], "percentage": 98.5}
        document["rating"] = {"value": 1.0, "rated_at": datetime(2026, 1, 1, tzinfo=UTC)}
    return document


def _fold(current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: By) -> Document:
    return _wrong(PROGRESS.fold(current, events, by))


def _refold(events: Sequence[StoredEvent], keep: Mapping[str, Any] | None, by: By) -> Document:
    return _wrong(PROGRESS.refold(events, keep, by))


WRONG = replace(PROGRESS, fold=_fold, refold=_refold)
