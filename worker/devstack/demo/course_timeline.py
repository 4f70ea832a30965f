"""The timeline of one course as a table: its events in their order, and what each of them has changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from projections.content.courses.pricing import PRICE_UNLIKE_TYPE
from projections.event import VOID
from worker.storage.database import Database
from worker.storage.errors import translated

_STATUS = {
    "course_created": "draft",
    "course_submitted": "review",
    "course_published": "published",
    "course_returned_to_draft": "draft",
    "course_archived": "archived",
}
_STAGE = "workflow_stage_"


@dataclass(frozen=True, slots=True)
class Moment:
    """One event, and what it has changed: an empty text for what it has not.

    `without_effect` is why it changed nothing at all; behind a price stands why that, or a plan of it, is not shown.
    """

    at: datetime
    event: str
    version: str = ""
    status: str = ""
    workflow: str = ""
    price: str = ""
    without_effect: str = ""


@dataclass(frozen=True, slots=True)
class CourseTimeline:
    """The title of a course, and its events in their order."""

    title: str
    moments: Sequence[Moment]


async def read_course_timeline(database: Database) -> CourseTimeline | None:
    """The timeline of the course with most events; None where no course is the worker's."""
    if "courses" not in database.catalogue.names:
        return None
    by_events = [("version", -1), ("_id", 1)]
    with translated():
        found = await database.courses.find({"stream_id": {"$exists": True}}).sort(by_events).to_list(1)
        if not found:
            return None
        course = found[0]
        streams = [f"course_{course['_id']}"]
        parts = [course]
        for kind, collection, path in (
            ("workflow", "content_workflow", "content_id"),
            ("promotion", "promotions", "course_id"),
        ):
            theirs = await database.collection(collection).find({path: course["_id"]}).to_list(None)
            streams += [f"{kind}_{each['_id']}" for each in theirs]
            parts += theirs
        events = await database.course_events.find({"stream_id": {"$in": streams}}).to_list(None)
    return course_timeline(course["title"], events, parts)


def course_timeline(
    title: str, events: Sequence[Mapping[str, Any]], documents: Sequence[Mapping[str, Any]]
) -> CourseTimeline:
    """The timeline of these stored events; their documents say which of them have no effect."""
    reasons = {
        each["event_id"]: each["reason"]
        for document in documents
        for each in (document.get("without_effect") or {}).get("latest", ())
    }
    happened = sorted(
        (each for each in events if each["event_type"] != VOID),
        key=lambda event: (event["occurred_at"], event["_id"].bytes),
    )
    return CourseTimeline(title, [_moment(event, reasons.get(event["_id"])) for event in happened])


def _moment(event: Mapping[str, Any], reason: str | None) -> Moment:
    kind, details = event["event_type"], event["event_data"].get("details", {})
    if reason is not None and reason != PRICE_UNLIKE_TYPE:
        return Moment(event["occurred_at"], kind, without_effect=reason)
    return Moment(
        event["occurred_at"],
        kind,
        version=_version(kind, details),
        status=_STATUS.get(kind, ""),
        workflow=_workflow(kind, details),
        price=f"{_price(details)} {reason or ''}".strip(),
    )


def _version(kind: str, details: Mapping[str, Any]) -> str:
    """Which version came to be, was approved, is live, or is live again."""
    if kind == "course_version_rolled_back":
        return f"{details['rollback_version']} again"
    step = kind.removeprefix("course_version_")
    return "" if step == kind else f"{details['version']} {step}"


def _workflow(kind: str, details: Mapping[str, Any]) -> str:
    if kind == "workflow_started":
        return f"{len(details['stages'])} stages to come"
    if not kind.startswith(_STAGE):
        return ""
    back = f", back to {details['return_to']}" if "return_to" in details else ""
    return f"{details['stage']} {kind.removeprefix(_STAGE)}{back}"


def _price(details: Mapping[str, Any]) -> str:
    price = (details.get("pricing") or {}).get("price")
    if price:
        return f"{price['amount']} {price['currency']}"
    percentage = details.get("discount_percentage")
    return f"less {percentage:g} %" if percentage else ""


def print_course_timeline(console: Console, timeline: CourseTimeline) -> None:
    """Print the table."""
    table = Table(title=f"The life of one course: {timeline.title}", title_justify="left")
    for name in ("when", "event", "version", "status", "workflow step", "price"):
        table.add_column(name)
    for each in timeline.moments:
        when = f"{each.at:%Y-%m-%d %H:%M}"
        workflow = f"no effect: {each.without_effect}" if each.without_effect else each.workflow
        table.add_row(when, each.event, each.version, each.status, workflow, each.price)
    console.print(table)


def print_counts(console: Console, counts: Mapping[str, int]) -> None:
    """Print how many documents each collection has, in a line."""
    told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    console.print(f"documents: {told}", highlight=False, soft_wrap=True)
