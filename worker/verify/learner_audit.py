"""Compares a learner's projection, and rows of the outbox, with what they follow from. No I/O."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from projections.counts import count_learner
from projections.counts.projection import COUNTS
from projections.progress import PROJECTION_VERSION
from worker.storage.outbox import LATE, REMADE, notification_id
from worker.storage.work_items import counts_item_id
from worker.verify.findings import CheckResult, Fault, Finding, Kind, broken, malformed
from worker.verify.sum_audit import Pair, check_counted

Document = Mapping[str, Any]

# What a milestone of the record is called in the outbox.
MILESTONES = {"welcome": "welcome", "completion": "completed"}
_OWNER = ("stream_id", "user_id", "course_id")
# Events of a stream that is folded one by one for the sake of one row: a second or so.
LONGEST_FOLDED = 2_000
_DATES = ("created_at", "due_at", "lease_until", "sent_at")


@dataclass(frozen=True, slots=True)
class Learner(Pair):
    """One learner in one course: record and projection (not both absent), and what is wrong with the rows."""

    rows: Sequence[Finding] = ()


def check_learner(learner: Learner, served: int = 0) -> CheckResult:
    """Whether the projection is what its record says, and all it put out has its row.

    `served` is the newest version by which anybody counts now.
    """
    result = check_counted(COUNTS, learner, served, _OWNER, _counted_of)
    if result.other_version:
        return result
    return replace(result, findings=[*result.findings, *learner.rows])


def _counted_of(record: Document) -> Document:
    step = count_learner(record, None)
    return step.projection if step else {}


def audit_rows(
    stream: str,
    projection: Document,
    rows: Set[str],
) -> Iterator[tuple[str, Finding]]:
    """What is wrong with the rows of a well-formed projection, each with the item of a refused row that excuses it.

    `rows` are the ids of outbox rows of any learners. Rows, or items of rows refused, are written with the projection
    that names them.
    """
    for kind in MILESTONES:
        if kind in projection["emitted"] and notification_id(kind, stream) not in rows:
            about = ("notifications", notification_id(kind, stream))
            missing = Finding(Kind.NOTIFICATION, Fault.MISSING, stream, f"no row for {kind}", about=about)
            yield counts_item_id(kind, projection["_id"]), missing


@dataclass(frozen=True, slots=True)
class Announced:
    """One row, and what one snapshot shows of its learner."""

    row: Document
    projection: Document | None
    record: Document | None

    @property
    def milestone(self) -> Mapping[str, Any] | None:
        """The record's milestone that the row is about, as far as that is known."""
        milestones = (self.record or {}).get("milestones")
        name = MILESTONES.get(str(self.row.get("kind")))
        reached = milestones.get(name) if isinstance(milestones, Mapping) else None
        return reached if isinstance(reached, Mapping) else None

    @property
    def says_something_else(self) -> bool:
        """What the row carries is not what the record says now of its milestone: it may have been true before."""
        reached, record = self.milestone, self.record or {}
        if reached is None or record.get("projection_version") != PROJECTION_VERSION:
            return False
        if record.get("version", 0) > LONGEST_FOLDED:
            return False
        data = self.row["data"]
        return (data["reached_at"], data["percentage"]) != (reached.get("at"), reached.get("percentage"))


def audit_notification(announced: Announced, horizon: datetime) -> list[Finding]:
    """What is wrong with a row, whatever it carries; no date lies behind `horizon`."""
    row = announced.row
    if (wrong := malformed("notifications", row) or _unknown(announced)) is not None:
        return [wrong]
    rules = (*_rules(announced, horizon), *state_rules(row))
    subject, what, about = row["stream_id"], f"{row['kind']}: ", ("notifications", row["_id"])
    return list(broken(Kind.NOTIFICATION, Fault.DIFFERENT, subject, rules, what, about=about))


def _unknown(announced: Announced) -> Finding | None:
    """Why the row should not be there, if so."""
    row, projection = announced.row, announced.projection
    kind, stream = row["kind"], row["stream_id"]
    found = partial(Finding, Kind.NOTIFICATION, subject=stream, about=("notifications", row["_id"]))
    if kind not in MILESTONES:
        return found(Fault.UNKNOWN, detail="a row of no known kind")
    if projection is None or kind not in projection.get("emitted", ()):
        return found(Fault.UNKNOWN, detail=f"{kind} without milestone")
    if row["_id"] != notification_id(kind, stream):
        return found(Fault.REPEATED, detail=f"a second row for {kind}")
    return None


def _rules(announced: Announced, horizon: datetime) -> Iterator[tuple[str, bool]]:
    row, projection, reached = announced.row, announced.projection or {}, announced.milestone
    yield "it names another learner", any(row[path] != projection.get(path) for path in _OWNER)
    if reached is not None:
        silent = row["status"] == "suppressed" and row["channel"] is None
        expected = reached.get("by") == "replay" or _is_late(row) or row["last_error"] == REMADE
        yield f"it is {row['status']}, the milestone was met by {reached.get('by')}", silent != expected
    yield "it carries something else than a milestone", not _is_milestone(row["data"])
    yield "a date in the future", any(row[name] is not None and row[name] > horizon for name in _DATES)


def state_rules(row: Document) -> Iterator[tuple[str, bool]]:
    """What each state of a well-formed row says of its other fields."""
    status, channel = row["status"], row["channel"]
    leased = row["lease_owner"] is not None and row["lease_until"] is not None
    free = row["lease_owner"] is None and row["lease_until"] is None
    dated, tried = row["sent_at"] is not None, bool(row["attempts"])
    never_to_be_sent = status == "suppressed" and not channel
    unrefused = not row.get("refusals") or row["last_error"] is None
    yield "sent without a date, or dated without being sent", (status == "sent") != dated
    yield "its lease is not that of its state", not (leased if status == "taken" else free)
    yield f"{status} without an attempt", _was_tried(row) and not tried
    yield f"{status} by no channel", status in ("sent", "failed") and channel is None
    yield "suppressed before anything, but tried", never_to_be_sent and tried
    yield "failed without a refusal", status == "failed" and unrefused


def _was_tried(row: Document) -> bool:
    by_preferences = row["status"] == "suppressed" and row["channel"] is not None
    return by_preferences or row["status"] in ("taken", "sent", "failed")


def _is_late(row: Document) -> bool:
    """The row says that its milestone was too old when it was counted, under whatever setting that was."""
    reached_at = row["data"].get("reached_at")
    return row["last_error"] == LATE and isinstance(reached_at, datetime) and reached_at < row["created_at"]


def _is_milestone(data: Document) -> bool:
    if data.keys() != {"percentage", "reached_at"} or not isinstance(data["reached_at"], datetime):
        return False
    return isinstance(data["percentage"], float) and 0 <= data["percentage"] <= 100
