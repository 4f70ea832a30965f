"""`content_workflow`: how content becomes ready to be published, stage by stage.

Steps are taken in the order (occurred_at, event_id), whenever they arrived. One that does not fit what the steps
before it have left has no effect, and the document says why. So all steps are kept: a step that arrives late may make
others fit, or not.
"""

from collections.abc import Callable, Mapping
from typing import Any

from bson import ObjectId

from projections.content.described import State, earliest, latest
from projections.content.documents import WorkflowDocument
from projections.event import StoredEvent, read_paths
from projections.kinds import Document, Index, Rules, StreamProjection, Target
from projections.merging import closed, converted
from projections.streams import StreamFold
from projections.without_effect import SHOWN, entry, without_effect
from worker.contract.times import parse_time

_COLLECTION = "content_workflow"
MOST_STEPS = 1_000
"""Steps that can have an effect, the earliest ones: twenty for each of fifty stages."""
MOST_COMMENTS = 200
"""Comments that are kept, the latest ones: with 4 KiB each the document stays below 2 MB."""

NOT_STARTED = "not_started"
ALREADY_STARTED = "already_started"
ENDED = "ended"
UNKNOWN_STAGE = "unknown_stage"
OUT_OF_ORDER = "out_of_order"
IN_PROGRESS = "already_in_progress"
COMPLETED = "already_completed"
NOT_IN_PROGRESS = "not_in_progress"
RETURNS_TO_LATER = "returns_to_later_stage"
TOO_MANY = "too_many_steps"
REASONS = (
    NOT_STARTED,
    ALREADY_STARTED,
    ENDED,
    UNKNOWN_STAGE,
    OUT_OF_ORDER,
    IN_PROGRESS,
    COMPLETED,
    NOT_IN_PROGRESS,
    RETURNS_TO_LATER,
    TOO_MANY,
)
"""Why a step has no effect."""

_DETAILS = (
    "content_id",
    "workflow_type",
    "stages",
    "metadata",
    "stage",
    "return_to",
    "assigned_to",
    "due_date",
    "comment",
    "author",
)
_IDS = (("content_id",), ("stages", "*", "assigned_to"), ("metadata", "stakeholders", "*"))
_TIMES = (("stages", "*", "due_date"), ("metadata", "estimated_completion"))
_START, _COMMENT = "workflow_started", "workflow_commented"

Stage = dict[str, Any]


def opened(current: Mapping[str, Any] | None) -> State:
    if current is None:
        lists: State = {name: [] for name in ("steps", "over", "comments")}
        return lists | {"start": None, "steps_over": 0, "first": None, "last": None}
    return {
        name: list(each) if name in ("steps", "over", "comments") else each
        for name, each in current["state"].items()
    }


def apply(state: State, event: StoredEvent) -> None:
    """Keep what the event says; what it does is decided when all that is kept is taken in order."""
    if event.event_type not in _TAKEN:
        raise KeyError(event.event_type)
    state["first"], state["last"] = earliest(state["first"], event), latest(state["last"], event)
    kept = {"at": event.occurred_at, "id": event.event_id, "type": event.event_type}
    if event.event_type == _START:
        said = {name: event.details[name] for name in _DETAILS[:4] if name in event.details}
        _keep_start(state, {**kept, **converted(said, ids=_IDS, times=_TIMES)})
    elif event.event_type == _COMMENT:
        kept |= {name: event.details[name] for name in ("stage", "comment")}
        _add(state["comments"], {**kept, "author": ObjectId(event.details["author"])})
        del state["comments"][:-MOST_COMMENTS]
    else:
        _keep_step(state, kept | _said(event.details))


def shown(state: State) -> Document:
    """The workflow as the steps have left it, one after the other."""
    walk = _Walk(state["start"])
    for step in sorted([*state["steps"], *filter(None, [state["start"]])], key=_order):
        walk.take(step)
    refused = [*walk.refused, *walk.comment(state["comments"])]
    start = state["start"] or {}
    return {
        "content_id": start.get("content_id"),
        "workflow_type": start.get("workflow_type"),
        "status": walk.status,
        "stages": walk.stages,
        "current_stage": walk.current_stage,
        "metadata": closed(start.get("metadata")),
        "without_effect": without_effect(
            refused, beyond=[*map(_over, state["over"])], beyond_total=state["steps_over"]
        ),
        "created_at": state["first"] and state["first"][0],
        "updated_at": state["last"] and state["last"][0],
        "state": state,
    }


class _Walk:
    """A workflow while its steps are taken one after the other; `refused` are those without effect."""

    def __init__(self, start: Mapping[str, Any] | None) -> None:
        self.stages: list[Stage] = [
            {"name": each["name"], "status": "pending", **_without_name(each), "comments": []}
            for each in (start or {}).get("stages", [])
        ]
        self.refused: list[Document] = []
        self.status: str | None = None
        self._start = start
        self._places = {each["name"]: place for place, each in enumerate(self.stages)}

    @property
    def current_stage(self) -> str | None:
        """The first one that is not completed, while the workflow goes on."""
        left = (each["name"] for each in self.stages if each["status"] != "completed")
        return next(left, None) if self.status == "in_progress" else None

    def take(self, step: Mapping[str, Any]) -> None:
        """Have the step take effect, or refuse it."""
        reason = self._refusal(step) or _TAKEN[step["type"]](self, step)
        if reason is not None:
            self.refused.append(entry(step["id"], step["type"], step["at"], reason))

    def comment(self, comments: list[Document]) -> list[Document]:
        """Show comments with their stages; returns those without one, as refused."""
        refused = []
        for each in comments:
            if each["stage"] in self._places:
                written = {"comment": each["comment"], "author": each["author"], "created_at": each["at"]}
                self.stages[self._places[each["stage"]]]["comments"].append(written)
            else:
                reason = NOT_STARTED if self._start is None else UNKNOWN_STAGE
                refused.append(entry(each["id"], each["type"], each["at"], reason))
        return refused

    def start(self, step: Mapping[str, Any]) -> str | None:
        """The workflow begins with its first start; there is no second one."""
        if self.status is not None:
            return ALREADY_STARTED
        self.status = "in_progress"
        return None

    def begin_stage(self, step: Mapping[str, Any]) -> str | None:
        """A stage begins when all before it are completed."""
        place, stage = self._at(step)
        if stage["status"] in ("in_progress", "completed"):
            return IN_PROGRESS if stage["status"] == "in_progress" else COMPLETED
        if any(each["status"] != "completed" for each in self.stages[:place]):
            return OUT_OF_ORDER
        stage |= {"status": "in_progress", "started_at": step["at"]}
        return None

    def complete_stage(self, step: Mapping[str, Any]) -> str | None:
        """What was begun is done; with the last stage, so is the workflow."""
        _, stage = self._at(step)
        if stage["status"] != "in_progress":
            return NOT_IN_PROGRESS
        stage |= {"status": "completed", "completed_at": step["at"]}
        if all(each["status"] == "completed" for each in self.stages):
            self.status = "completed"
        return None

    def reject_stage(self, step: Mapping[str, Any]) -> str | None:
        """What was begun is to be done again, with all stages from `return_to` on."""
        place, stage = self._at(step)
        if stage["status"] != "in_progress":
            return NOT_IN_PROGRESS
        back = self._places[step.get("return_to", step["stage"])]
        if back > place:
            return RETURNS_TO_LATER
        stage["status"] = "rejected"
        for each in self.stages[back:place]:
            each["status"] = "pending"
            each.pop("started_at", None)
            each.pop("completed_at", None)
        return None

    def assign_stage(self, step: Mapping[str, Any]) -> str | None:
        """A stage that is not completed is somebody's, or due at some time."""
        _, stage = self._at(step)
        if stage["status"] == "completed":
            return COMPLETED
        for name in ("assigned_to", "due_date"):
            if step.get(name) is not None:
                stage[name] = step[name]
            elif name in step:
                stage.pop(name, None)
        return None

    def cancel(self, step: Mapping[str, Any]) -> str | None:
        """It ends here."""
        self.status = "cancelled"
        return None

    def _refusal(self, step: Mapping[str, Any]) -> str | None:
        """What is wrong with a step of any type."""
        if step["type"] == _START:
            return None
        if self.status is None:
            return NOT_STARTED
        if self.status != "in_progress":
            return ENDED
        named = [step[name] for name in ("stage", "return_to") if name in step]
        return None if self._places.keys() >= set(named) else UNKNOWN_STAGE

    def _at(self, step: Mapping[str, Any]) -> tuple[int, Stage]:
        place = self._places[step["stage"]]
        return place, self.stages[place]


def comment(walk: _Walk, step: Mapping[str, Any]) -> str | None:
    """What was said stands with its stage, whatever became of that."""
    return None


_TAKEN: Mapping[str, Callable[[_Walk, Mapping[str, Any]], str | None]] = {
    _START: _Walk.start,
    "workflow_stage_started": _Walk.begin_stage,
    "workflow_stage_completed": _Walk.complete_stage,
    "workflow_stage_rejected": _Walk.reject_stage,
    "workflow_stage_assigned": _Walk.assign_stage,
    _COMMENT: comment,
    "workflow_cancelled": _Walk.cancel,
}


def _said(details: Mapping[str, Any]) -> Document:
    """What a step says; null takes away, and is kept."""
    said = {name: details[name] for name in ("stage", "return_to") if name in details}
    if "assigned_to" in details:
        said["assigned_to"] = details["assigned_to"] and ObjectId(details["assigned_to"])
    if "due_date" in details:
        said["due_date"] = details["due_date"] and parse_time(details["due_date"])
    return said


def _keep_start(state: State, start: Document) -> None:
    """The earliest start counts; of any other only that it was there."""
    known = state["start"]
    if known is None:
        state["start"] = start
        return
    state["start"], other = sorted((known, start), key=_order)
    _keep_step(state, {name: other[name] for name in ("at", "id", "type")})


def _keep_step(state: State, step: Document) -> None:
    """The earliest steps are kept; of the others how many, and the latest."""
    _add(state["steps"], step)
    if len(state["steps"]) > MOST_STEPS:
        last = state["steps"].pop()
        _add(state["over"], {name: last[name] for name in ("at", "id", "type")})
        del state["over"][:-SHOWN]
        state["steps_over"] += 1


def _add(kept: list[Document], one: Document) -> None:
    kept.append(one)
    kept.sort(key=_order)


def _order(kept: Mapping[str, Any]) -> tuple[Any, ...]:
    return kept["at"], kept["id"]


def _over(step: Mapping[str, Any]) -> Document:
    return entry(step["id"], step["type"], step["at"], TOO_MANY)


def _without_name(stage: Mapping[str, Any]) -> Document:
    return {name: each for name, each in stage.items() if name != "name"}


_FOLD = StreamFold(1, opened, apply, shown)

CONTENT_WORKFLOW = StreamProjection(
    name="content_workflow",
    version=_FOLD.version,
    about=("workflow",),
    target=Target(
        _COLLECTION,
        (WorkflowDocument,),
        (Index(_COLLECTION, "idx_content_workflow_content", (("content_id", 1),)),),
    ),
    paths=tuple(name for name in WorkflowDocument.model_fields if name not in ("id", "rev")),
    fold=_FOLD.fold,
    refold=_FOLD.refold,
    event_paths=read_paths(_DETAILS),
    rules=Rules(apply, _TAKEN),
    begun=lambda fields: fields["state"]["start"] is not None,
    reasons=REASONS,
)
