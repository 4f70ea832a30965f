"""Invariant 5 for what courses are made of: all events of a stream, one after the other in their order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bson import ObjectId

from tests.oracle.case import Case
from tests.oracle.decimals import whole
from tests.oracle.finding import unequal
from tests.oracle.projected import document_differences
from tests.oracle.reported import (
    Event,
    all_details,
    at,
    details,
    latest,
    moment,
    of,
    order,
    real,
    without_effect,
)
from tests.oracle.stored import Document
from tests.oracle.texts import measures

_MOST_STEPS, _MOST_COMMENTS = 1_000, 200
_STEP = "workflow_stage_"
_STATES = {"started": "in_progress", "completed": "completed", "rejected": "rejected"}


def content_documents(case: Case) -> Iterator[str]:
    """Every stream about content that has begun has one document, which shows what follows from its events."""
    for prefix, (collection, expect) in _COLLECTIONS.items():
        streams = {
            stream: events
            for stream, events in case.stored.streams_of(collection).items()
            if stream.startswith(f"{prefix}_")
        }
        wanted = {stream: shown for stream, events in streams.items() if (shown := expect(events))}
        yield from document_differences(collection, streams, wanted, case.stored.content(collection))


def cycles(case: Case) -> Iterator[str]:
    """Of each kind of relationship those stand that close no cycle with earlier ones that stand."""
    streams = case.stored.streams_of("content_relationships")
    edges: list[tuple[Any, Any, Any, Document]] = []
    for document in case.stored.content("content_relationships"):
        made = latest(of(real(streams[document["stream_id"]]), "content_related"))
        if document["deleted_at"] is None and made is not None:
            edges.append((order(made), document["parent_id"], document["child_id"], document))
        elif "effective" in document:
            yield f"relationship {document['_id']} is no more, and is decided"
    ways: dict[Any, set[tuple[Any, Any]]] = {}
    for _, parent, child, document in sorted(edges, key=lambda each: each[0]):
        known = ways.setdefault(document["relationship_type"], set())
        stands = not _leads(known, child, parent)
        if stands:
            known.add((parent, child))
        shown = {"effective": stands, "reason": None if stands else "closes_cycle"}
        yield from unequal(f"relationship {document['_id']}", shown, document)


def expected_lesson(events: Sequence[Event]) -> Document | None:
    """A content item, None where it was never made."""
    happened = sorted(real(events), key=order)
    if not of(happened, "lesson_content_created"):
        return None
    shown: dict[str, Any] = {"type": None}
    for event in happened:
        said = details(event)
        if event["event_data"].get("lesson_id") is not None:
            shown["lesson_id"] = event["event_data"]["lesson_id"]
        if "type" in said:
            if shown["type"] != said["type"]:
                shown.pop("content", None)
            shown["type"] = said["type"]
            names = ("title", "description", "content", "metadata")
            _hear(shown, {name: said[name] for name in names if name in said})
    content = shown.get("content")
    if shown["type"] == "article" and content is not None and "reading_time" not in content:
        text = content.get("markdown_content")
        content |= {} if text is None else {"reading_time": measures({"markdown": text})["reading_time"]}
    shows = ("lesson_id", "type", "title", "description", "content", "metadata")
    return _with_whole_numbers(
        {**_named(shown, shows), **_dates(happened, "lesson_content_created", "lesson_content_deleted")}
    )


def expected_block(events: Sequence[Event]) -> Document | None:
    """A block, with what is computed of its text."""
    happened = sorted(real(events), key=order)
    if not of(happened, "content_block_created"):
        return None
    shown: dict[str, Any] = {}
    for event in happened:
        said = dict(details(event))
        if said.get("content"):
            said["content"] = {name: each for name, each in said["content"].items() if name != "metadata"}
        if "version" in said:
            said["block_version"] = said.pop("version")
        _hear(shown, said)
    if shown.get("content") is not None:
        shown["content"] = {**shown["content"], "metadata": measures(shown["content"])}
    for element in shown.get("interactive_elements") or []:
        if "quiz_id" in element:
            element["quiz_id"] = ObjectId(element["quiz_id"])
    names = (
        "type",
        "block_version",
        "config",
        "content",
        "interactive_elements",
        "media_assets",
        "assessment",
    )
    return _with_whole_numbers(
        {**_named(shown, names), **_dates(happened, "content_block_created", "content_block_deleted")}
    )


def expected_relationship(events: Sequence[Event]) -> Document | None:
    """A relationship; whether it stands is decided beside others (`cycles`)."""
    happened = sorted(real(events), key=order)
    if not of(happened, "content_related"):
        return None
    shown: dict[str, Any] = {}
    for event in happened:
        _hear(shown, details(event))
    made = max(of(happened, "content_related"), key=order)
    shown["since"] = {"at": at(made), "event_id": made["_id"]}
    for name in ("parent_id", "child_id"):
        shown[name] = ObjectId(shown[name])
    rules = shown.get("display_rules") or {}
    if "prerequisites" in rules:
        rules["prerequisites"] = [ObjectId(each) for each in rules["prerequisites"]]
    for condition in rules.get("conditions") or []:
        if "target_id" in condition:
            condition["target_id"] = ObjectId(condition["target_id"])
    names = (
        "parent_id",
        "child_id",
        "relationship_type",
        "order",
        "display_rules",
        "adaptive_params",
        "since",
    )
    return _with_whole_numbers(
        {**_named(shown, names), **_dates(happened, "content_related", "content_unrelated")}
    )


def expected_workflow(events: Sequence[Event]) -> Document | None:
    """A workflow as its steps have left it."""
    happened = sorted(real(events), key=order)
    starts = of(happened, "workflow_started")
    if not starts:
        return None
    said = details(starts[0])
    stages = [_stage(each) for each in said["stages"]]
    comments = of(happened, "workflow_commented")[-_MOST_COMMENTS:]
    steps = [
        each for each in happened if each["event_type"] != "workflow_commented" and each is not starts[0]
    ]
    flow = {"status": "in_progress", "begun": False}
    refused: list[tuple[Event, str]] = [(each, "too_many_steps") for each in steps[_MOST_STEPS:]]
    for step in sorted([*steps[:_MOST_STEPS], starts[0]], key=order):
        if step is starts[0]:
            flow["begun"] = True
        elif reason := _refused(flow, stages, step):
            refused.append((step, reason))
        else:
            _do(flow, stages, step)
    named = {each["name"]: each for each in stages}
    for each in comments:
        if details(each)["stage"] in named:
            written = {
                "comment": all_details(each).get("comment"),
                "author": ObjectId(details(each)["author"]),
                "created_at": at(each),
            }
            named[details(each)["stage"]]["comments"].append(written)
        else:
            refused.append((each, "unknown_stage"))
    left = [each["name"] for each in stages if each["status"] != "completed"]
    return _with_whole_numbers(
        {
            "content_id": ObjectId(said["content_id"]),
            "workflow_type": said["workflow_type"],
            "status": flow["status"],
            "stages": stages,
            "current_stage": left[0] if left and flow["status"] == "in_progress" else None,
            "metadata": _metadata(said.get("metadata")),
            "without_effect": without_effect(refused),
            "created_at": at(happened[0]),
            "updated_at": at(happened[-1]),
        }
    )


_COLLECTIONS: Mapping[str, tuple[str, Callable[[Sequence[Event]], Document | None]]] = {
    "content": ("lesson_content", expected_lesson),
    "block": ("content_blocks", expected_block),
    "relationship": ("content_relationships", expected_relationship),
    "workflow": ("content_workflow", expected_workflow),
}


def _hear(shown: dict[str, Any], said: Mapping[str, Any]) -> None:
    """Take what is said into what was said before; an object that says nothing at all is not heard."""
    for name, given in said.items():
        if isinstance(given, Mapping):
            if not _says_something(given):
                continue
            known = shown.get(name)
            shown[name] = dict(known) if isinstance(known, Mapping) else {}
            _hear(shown[name], given)
            if not shown[name]:
                del shown[name]
        elif given is None:
            shown.pop(name, None)
        else:
            shown[name] = (
                [dict(each) if isinstance(each, Mapping) else each for each in given]
                if isinstance(given, list)
                else given
            )


def _says_something(given: Mapping[str, Any]) -> bool:
    return any(_says_something(each) if isinstance(each, Mapping) else True for each in given.values())


def _named(shown: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: shown.get(name) for name in names}


def _dates(happened: Sequence[Event], made: str, gone: str) -> dict[str, Any]:
    last = max(of(happened, made, gone), key=order)
    return {
        "created_at": at(happened[0]),
        "updated_at": at(happened[-1]),
        "deleted_at": at(last) if last["event_type"] == gone else None,
    }


def _with_whole_numbers(document: Mapping[str, Any]) -> Document:
    """The document with whole numbers as integers, however they were written."""
    return {name: _as_stored(each) for name, each in document.items()}


def _as_stored(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _with_whole_numbers(value)
    return [*map(_as_stored, value)] if isinstance(value, list) else whole(value)


def _leads(ways: set[tuple[Any, Any]], start: Any, end: Any) -> bool:
    reached, news = {start}, {start}
    while news:
        news = {child for parent, child in ways if parent in news} - reached
        reached |= news
    return end in reached


def _stage(said: Mapping[str, Any]) -> dict[str, Any]:
    stage: dict[str, Any] = {"name": said["name"], "status": "pending", "comments": []}
    if "assigned_to" in said:
        stage["assigned_to"] = ObjectId(said["assigned_to"])
    if "due_date" in said:
        stage["due_date"] = moment(said["due_date"])
    return stage


def _metadata(said: Mapping[str, Any] | None) -> Document | None:
    if said is None:
        return None
    shown = dict(said)
    if "estimated_completion" in shown:
        shown["estimated_completion"] = moment(shown["estimated_completion"])
    if "stakeholders" in shown:
        shown["stakeholders"] = [ObjectId(each) for each in shown["stakeholders"]]
    return shown


def _refused(flow: Mapping[str, Any], stages: Sequence[Mapping[str, Any]], step: Event) -> str | None:
    """Why a step has no effect."""
    event_type, places = step["event_type"], {each["name"]: place for place, each in enumerate(stages)}
    if event_type == "workflow_started":
        return "already_started"
    if not flow["begun"]:
        return "not_started"
    if flow["status"] != "in_progress":
        return "ended"
    if {details(step)[name] for name in ("stage", "return_to") if name in details(step)} - places.keys():
        return "unknown_stage"
    return None if event_type == "workflow_cancelled" else _misplaced(places, stages, step)


def _misplaced(places: Mapping[str, int], stages: Sequence[Mapping[str, Any]], step: Event) -> str | None:
    """Why a step does not fit its stage."""
    said, place = details(step), places[details(step)["stage"]]
    status = stages[place]["status"]
    match step["event_type"].removeprefix(_STEP):
        case "started" if status == "in_progress":
            return "already_in_progress"
        case "started" | "assigned" if status == "completed":
            return "already_completed"
        case "started" if any(each["status"] != "completed" for each in stages[:place]):
            return "out_of_order"
        case "completed" | "rejected" if status != "in_progress":
            return "not_in_progress"
        case "rejected" if places[said.get("return_to", said["stage"])] > place:
            return "returns_to_later_stage"
    return None


def _do(flow: dict[str, Any], stages: Sequence[dict[str, Any]], step: Event) -> None:
    said, what = details(step), step["event_type"].removeprefix(_STEP)
    if what == "workflow_cancelled":
        flow["status"] = "cancelled"
        return
    names = [each["name"] for each in stages]
    stage = stages[names.index(said["stage"])]
    if what == "assigned":
        if "assigned_to" in said:
            stage.pop("assigned_to", None)
            stage |= {} if said["assigned_to"] is None else {"assigned_to": ObjectId(said["assigned_to"])}
        if "due_date" in said:
            stage.pop("due_date", None)
            stage |= {} if said["due_date"] is None else {"due_date": moment(said["due_date"])}
        return
    stage["status"] = _STATES[what]
    if what == "rejected":
        for each in stages[names.index(said.get("return_to", said["stage"])) : names.index(said["stage"])]:
            each["status"] = "pending"
            each.pop("started_at", None)
            each.pop("completed_at", None)
    else:
        stage[f"{what}_at"] = at(step)
    if all(each["status"] == "completed" for each in stages):
        flow["status"] = "completed"
