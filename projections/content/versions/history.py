"""The versions of a course, as the steps of its life make them, in the order (occurred_at, event_id). Pure.

Which steps have an effect is decided as for the course itself (`projections.content.courses.steps`).
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, NotRequired, cast
from uuid import UUID

from bson import ObjectId

from projections.content.courses.steps import (
    MOST_STEPS,
    VERSION_STEPS,
    Life,
    Reason,
    Step,
    order,
    step_of,
)
from projections.event import OPENING, StoredEvent

REASONS: Final[tuple[Reason, ...]] = (
    "not_created",
    "deleted",
    "version_exists",
    "version_unknown",
    "version_live",
    "version_not_live",
    "version_not_deployed",
)
"""Why a step about a version has no effect."""

Status = Literal["draft", "testing", "deployed", "rolled_back"]

_CREATED: Final = "course_version_created"
_APPROVED: Final = "course_version_approved"
_DEPLOYED: Final = "course_version_deployed"
_ROLLED_BACK: Final = "course_version_rolled_back"
# Of a life that was adopted, what its steps are judged by; the rest is the course's.
_OF_LIFE: Final = ("status", "created_at", "deleted_at", "version")
_NOT_KEPT: Final = ("changes", "author", "next_update")


class VersionStep(Step):
    """A step as it is kept in `state`.

    `seen` is its version in the stream. `late` is that of the last event to arrive that changed the content between
    the step before and this one: what follows from this step changes with it.
    """

    seen: int
    late: int
    approved_by: NotRequired[ObjectId | None]
    migrates: NotRequired[bool]


def with_event(steps: list[VersionStep], event: StoredEvent) -> bool:
    """Put an event in its place, in a list that may be changed; True if a step had no place among so many."""
    step = step_of(event)
    if step is None:
        place = bisect_left(steps, (event.occurred_at, event.event_id.bytes), key=order)
        if place < len(steps):
            steps[place] = {**steps[place], "late": event.version}
        return False
    place = bisect_left(steps, order(step), key=order)
    late = steps[place]["late"] if place < len(steps) else 0
    if late:
        steps[place] = {**steps[place], "late": 0}
    steps.insert(place, _kept(step, event, late))
    dropped = len(steps) > MOST_STEPS
    del steps[MOST_STEPS:]
    return dropped


def _kept(step: Step, event: StoredEvent, late: int) -> VersionStep:
    """What versions need of a step."""
    kept: dict[str, object] = {name: value for name, value in step.items() if name not in _NOT_KEPT}
    if "opened" in step:
        kept["opened"] = {name: step["opened"].get(name) for name in _OF_LIFE}
    if event.event_type in (_CREATED, _APPROVED):
        approved_by = event.details.get("approved_by")
        kept["approved_by"] = None if approved_by is None else ObjectId(approved_by)
    if event.event_type == _CREATED:
        kept["migrates"] = event.details.get("migration_required") is True
    return cast(VersionStep, {**kept, "seen": event.version, "late": late})


@dataclass(slots=True)
class Version:
    """One version: the event that created it, where it stands, and the version of the event that made it so."""

    label: str
    event_id: UUID
    created_at: datetime
    migrates: bool = False
    approved_by: ObjectId | None = None
    status: Status = "draft"
    deployed_at: datetime | None = None
    rollback_version: str | None = None
    made_by: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """Learners were given another version: `seen` is the version of the event in the stream.

    `migrates`: those who have begun must be moved to its curriculum.
    """

    version: str
    at: datetime
    event_id: UUID
    seen: int
    migrates: bool
    rolled_back: bool


@dataclass(slots=True)
class History:
    """All versions by label, in the order of their creation, the one that learners have, and every move to one.

    `refused` are the steps about versions that have no effect.
    """

    versions: dict[str, Version] = field(default_factory=dict)
    current: str | None = None
    moves: list[Move] = field(default_factory=list)
    refused: list[tuple[Step, Reason]] = field(default_factory=list)

    def begin(self, step: VersionStep, live: str | None) -> None:
        """Somebody else kept the course until this step: what there was before it is only what was live."""
        self.versions, self.current, self.moves, self.refused = {}, live, [], []
        if live is not None:
            self.versions[live] = Version(
                live, step["id"], step["at"], status="deployed", deployed_at=step["at"]
            )
            # Learners have it: what moves them from it later is undone by going back to it.
            self.moves.append(Move(live, step["at"], step["id"], step["seen"], False, False))

    def take(self, step: VersionStep) -> None:
        """The next step that has an effect."""
        kind, label = step["type"], step["version"]
        if kind == _CREATED:
            self.versions[label] = Version(label, step["id"], step["at"], step["migrates"])
        version = self.versions[label]
        if (approved_by := step.get("approved_by")) is not None:
            version.approved_by = approved_by
            if version.status == "draft":
                version.status = "testing"
        if kind == _DEPLOYED:
            version.rollback_version = self.current
            self._move(step, version, migrates=version.migrates)
            version.deployed_at = step["at"]
        elif kind == _ROLLED_BACK:
            version.status = "rolled_back"
            version.rollback_version = step["rollback_version"]
            self._move(step, self.versions[step["rollback_version"]], migrates=False)

    def _move(self, step: VersionStep, version: Version, *, migrates: bool) -> None:
        """Where learners were moved for what came after this version, they are moved back for it."""
        since: list[Move] = []
        for move in reversed(self.moves):
            if move.version == version.label:
                migrates = migrates or any(each.migrates for each in since)
                break
            since.append(move)
        rolled_back = step["type"] == _ROLLED_BACK
        move = Move(version.label, step["at"], step["id"], step["seen"], migrates, rolled_back)
        self.moves.append(move)
        self.current, version.status = version.label, "deployed"


def history_of(steps: Iterable[VersionStep], dropped_at: int = 0) -> History:
    """The history that these steps, in order, are. `dropped_at`: when a step last had no place among so many.

    A version is made by whatever arrived last of all that happened up to the last step that names it.
    """
    history, life = History(), Life()
    made_by: dict[str, int] = {}
    highest = dropped_at
    for step in steps:
        highest = max(highest, step["seen"], step["late"])
        refused = len(life.refused)
        life.take(step)
        if step["type"] == OPENING:
            history.begin(step, life.live)
            made_by = dict.fromkeys(history.versions, highest)
        elif step["type"] in VERSION_STEPS:
            made_by |= dict.fromkeys(_names(step), highest)
            if len(life.refused) > refused:
                history.refused.append(life.refused[-1])
            else:
                history.take(step)
    for version in history.versions.values():
        version.made_by = made_by[version.label]
    return history


def _names(step: VersionStep) -> Sequence[str]:
    return [step["version"], *([step["rollback_version"]] if "rollback_version" in step else [])]
