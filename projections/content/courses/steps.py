"""The life of a course in steps: which of them have an effect, and what the course is after all of them. Pure.

What is wrong in a step only beside the others is decided here, in the order (occurred_at, event_id), so that any
order of arrival gives the same: such a step has no effect, and its reason is told.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NotRequired, TypedDict
from uuid import UUID

from bson import ObjectId

from projections.event import OPENING, StoredEvent
from worker.contract.times import parse_time

Reason = Literal[
    "not_created",
    "created_already",
    "deleted",
    "not_deleted",
    "wrong_status",
    "version_exists",
    "version_unknown",
    "version_live",
    "version_not_live",
    "version_not_deployed",
]
"""Why a step has no effect."""

CREATED: Final = "course_created"
_ARCHIVED: Final = "course_archived"
_PUBLISHED: Final = "course_published"
_DELETED: Final = "course_deleted"
_RESTORED: Final = "course_restored"

STATUS_STEPS: Final[Mapping[str, tuple[frozenset[str], str]]] = {
    "course_submitted": (frozenset({"draft"}), "review"),
    _PUBLISHED: (frozenset({"review", "published"}), "published"),
    "course_returned_to_draft": (frozenset({"review", "published", "archived"}), "draft"),
    _ARCHIVED: (frozenset({"draft", "review", "published"}), "archived"),
}
"""Of each step the statuses that it may come from, and the one it leads to."""

VERSION_STEPS: Final = (
    "course_version_created",
    "course_version_approved",
    "course_version_deployed",
    "course_version_rolled_back",
)
STEP_TYPES: Final = frozenset({CREATED, _DELETED, _RESTORED, *STATUS_STEPS, *VERSION_STEPS, OPENING})
"""Events that are steps; all others change the content of a course, whatever its status."""

# A course has some dozens. What is over has no effect: the first in order count, so that arrival does not matter.
MOST_STEPS: Final = 5_000
CHANGELOG_SHOWN: Final = 50


class Step(TypedDict):
    """One step as it is kept in `state`: when, which event, of what type, and what of it is needed."""

    at: datetime
    id: UUID
    type: str
    version: NotRequired[str]
    rollback_version: NotRequired[str]
    changes: NotRequired[list[str]]
    author: NotRequired[ObjectId | None]
    next_update: NotRequired[datetime | None]
    opened: NotRequired[dict[str, Any]]


def order(step: Step) -> tuple[datetime, bytes]:
    """By when it occurred, and by the event's id where that is the same."""
    return step["at"], step["id"].bytes


def step_of(event: StoredEvent) -> Step | None:
    """The step that an event is; None for one that only changes content."""
    if event.event_type not in STEP_TYPES:
        return None
    step = Step(at=event.occurred_at, id=event.event_id, type=event.event_type)
    details = event.details
    if event.is_opening:
        step["opened"] = dict(details["record"]["life"])
    elif event.event_type == _PUBLISHED:
        planned = details.get("next_update_scheduled")
        step["next_update"] = None if planned is None else parse_time(planned)
    elif event.event_type in VERSION_STEPS:
        step["version"] = details["version"]
        if event.event_type == "course_version_created":
            author = details.get("created_by")
            step["changes"] = list(details.get("changes") or [details["summary"]])
            step["author"] = None if author is None else ObjectId(author)
        elif event.event_type == "course_version_rolled_back":
            step["rollback_version"] = details["rollback_version"]
    return step


def with_step(steps: list[Step], step: Step) -> None:
    """Put a step in its place among the others; the last of too many goes."""
    if bisect_left(steps, order(step), key=order) < MOST_STEPS:
        insort(steps, step, key=order)
        del steps[MOST_STEPS:]


@dataclass(slots=True)
class Life:
    """What a course is after its steps.

    `status` is None until it is created. `moved_at` is when learners were last given something else: published,
    deployed or rolled back; `touched_at` when any step had an effect last. `refused` are the steps without effect,
    `restored` is the last step that brought it back.
    """

    status: str | None = None
    created_at: datetime | None = None
    deleted_at: datetime | None = None
    restored: Step | None = None
    published_at: datetime | None = None
    next_update: datetime | None = None
    moved_at: datetime | None = None
    touched_at: datetime | None = None
    live: str | None = None
    created: dict[str, Step] = field(default_factory=dict)
    deployed: dict[str, datetime] = field(default_factory=dict)
    ever_deployed: set[str] = field(default_factory=set)
    former_log: list[dict[str, Any]] = field(default_factory=list)
    refused: list[tuple[Step, Reason]] = field(default_factory=list)

    def take(self, step: Step) -> None:
        """The next step in order."""
        if step["type"] == OPENING:
            self._open(step)
            return
        reason = self._wrong(step)
        if reason is not None:
            self.refused.append((step, reason))
            return
        self.touched_at = step["at"]
        if step["type"] == CREATED:
            self.status, self.created_at = "draft", step["at"]
        elif step["type"] in STATUS_STEPS:
            self._move(step)
        elif step["type"] == _DELETED:
            self.deleted_at = step["at"]
        elif step["type"] == _RESTORED:
            self.deleted_at, self.restored = None, step
        else:
            self._version(step)

    def changelog(self) -> Iterator[dict[str, Any]]:
        """What each version that learners have, or had before it, brought: the last one first."""
        for version, at in sorted(self.deployed.items(), key=lambda each: (each[1], each[0]), reverse=True):
            created = self.created.get(version)
            if created is not None and "changes" in created:
                yield {
                    "version": version,
                    "date": at,
                    "changes": created["changes"],
                    "author": created.get("author"),
                }
        yield from self.former_log

    def _wrong(self, step: Step) -> Reason | None:
        kind = step["type"]
        if kind == CREATED:
            return None if self.status is None else "created_already"
        if self.status is None:
            return "not_created"
        if kind == _RESTORED:
            return None if self.deleted_at is not None else "not_deleted"
        if self.deleted_at is not None:
            return "deleted"
        if kind in STATUS_STEPS:
            return None if self.status in STATUS_STEPS[kind][0] else "wrong_status"
        return self._wrong_version(step) if kind in VERSION_STEPS else None

    def _wrong_version(self, step: Step) -> Reason | None:
        kind, version = step["type"], step["version"]
        if kind == "course_version_created":
            return "version_exists" if version in self.created else None
        if version not in self.created:
            return "version_unknown"
        if kind == "course_version_deployed":
            return "version_live" if version == self.live else None
        if kind == "course_version_rolled_back":
            if version != self.live:
                return "version_not_live"
            former = step["rollback_version"]
            return None if former in self.ever_deployed and former != version else "version_not_deployed"
        return None

    def _move(self, step: Step) -> None:
        before, self.status = self.status, STATUS_STEPS[step["type"]][1]
        if step["type"] == _PUBLISHED:
            self.next_update, self.moved_at = step.get("next_update"), step["at"]
            if before != "published":
                self.published_at = step["at"]

    def _version(self, step: Step) -> None:
        version = step["version"]
        if step["type"] == "course_version_created":
            self.created[version] = step
        elif step["type"] == "course_version_deployed":
            self.live, self.moved_at, self.deployed[version] = version, step["at"], step["at"]
            self.ever_deployed.add(version)
        elif step["type"] == "course_version_rolled_back":
            self.live, self.moved_at = step["rollback_version"], step["at"]
            self.deployed.pop(version, None)

    def _open(self, step: Step) -> None:
        """The course was kept by somebody else until then: what went before is in what it was."""
        was = step["opened"]
        live = was.get("version")
        self.status, self.created_at, self.deleted_at = (
            was["status"],
            was["created_at"],
            was.get("deleted_at"),
        )
        self.published_at, self.next_update = was.get("published_at"), was.get("next_update_scheduled")
        self.moved_at, self.touched_at = was.get("last_updated"), was.get("updated_at")
        self.live, self.former_log, self.refused = live, list(was.get("changelog") or []), []
        self.restored = None
        self.created, self.deployed, self.ever_deployed = {}, {}, set()
        if live is not None:
            self.created[live] = Step(at=step["at"], id=step["id"], type=OPENING)
            self.ever_deployed.add(live)


def judged(steps: Iterable[Step]) -> Life:
    """The life that these steps, in order, are."""
    life = Life()
    for step in steps:
        life.take(step)
    return life
