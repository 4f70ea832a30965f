"""Holds the documents that a platform's events have made against those that the simulator's ledger expects."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from worker.contract.families import LEARNER_TYPES
from worker.devstack.demo.progress_check import Difference, differences
from worker.devstack.demo.stored import documents_by
from worker.devstack.simulator.ledger import ABSENT, ExpectedDocument
from worker.devstack.simulator.lives.platform import Platform
from worker.storage.database import Database, Document
from worker.storage.driver import aggregate
from worker.storage.errors import translated

DocumentsByCollection = Mapping[str, Mapping[Any, Document]]
"""Documents by collection and `_id`."""

COLLECTIONS = (
    "courses",
    "users",
    "lesson_content",
    "content_blocks",
    "content_relationships",
    "content_workflow",
    "course_versions",
    "version_history",
    "promotions",
    "billing_transactions",
)
"""Those in which a platform's events make documents."""

_STAMPED = ("version", "module_id", "lesson_type", "topic", "skills")
_OF_LEARNERS = {"event_type": {"$in": sorted(LEARNER_TYPES.by_name)}}


@dataclass(frozen=True, slots=True)
class Stamp:
    """What some of a learner's events were stamped with, in one course and lesson."""

    course_id: str
    lesson_id: str | None
    stamp: Mapping[str, Any] | None
    events: int


async def read_documents(database: Database, expected: Iterable[ExpectedDocument]) -> DocumentsByCollection:
    """The documents that are there of those that are expected."""
    keys: dict[str, list[ObjectId]] = {}
    for each in expected:
        keys.setdefault(each.collection, []).append(each.key)
    return {name: await documents_by(database.collection(name), "_id", some) for name, some in keys.items()}


async def count_documents(database: Database, collections: Iterable[str]) -> dict[str, int]:
    """How many documents each of these collections has."""
    with translated():
        return {name: await database.collection(name).count_documents({}) for name in collections}


def compare_documents(
    expected: Iterable[ExpectedDocument], stored: DocumentsByCollection
) -> list[Difference]:
    """Every field of every document that is not as expected."""
    return [each for document in expected for each in _differences(document, stored)]


def at(document: Mapping[str, Any], path: str) -> Any:
    """What stands there; of a list the sorted values of its elements, ABSENT for nothing."""
    value: Any = document
    names = path.split(".")
    for place, name in enumerate(names):
        if isinstance(value, list):
            return sorted(at(each, ".".join(names[place:])) for each in value)
        if not isinstance(value, Mapping) or name not in value:
            return ABSENT
        value = value[name]
    return value


def _differences(expected: ExpectedDocument, stored: DocumentsByCollection) -> Iterator[Difference]:
    subject = f"{expected.collection} {expected.key}"
    document = stored.get(expected.collection, {}).get(expected.key)
    if document is not None:
        shown = {path: at(document, path) for path in expected.fields}
        yield from differences(subject, expected.fields, shown)
    elif not expected.may_be_gone:
        yield Difference(subject, "document", "present", None)


async def read_stamps(database: Database, courses: Collection[str]) -> list[Stamp]:
    """What learners' events of these courses were stamped with, counted."""
    ids = [ObjectId(each) for each in courses]
    stamp = {name: f"$curriculum.{name}" for name in _STAMPED}
    group = {"course": "$event_data.course_id", "lesson": "$event_data.lesson_id", **stamp}
    stages: list[Document] = [
        {"$match": {"event_data.course_id": {"$in": ids}, **_OF_LEARNERS}},
        {"$group": {"_id": group, "count": {"$sum": 1}}},
    ]
    with translated():
        found = await aggregate(database.course_events, stages)
    return [_stamp(each["_id"], each["count"]) for each in found]


def _stamp(group: Mapping[str, Any], count: int) -> Stamp:
    lesson = group.get("lesson")
    said = {name: group[name] for name in _STAMPED if group.get(name) is not None}
    return Stamp(str(group["course"]), None if lesson is None else str(lesson), said or None, count)


def compare_stamps(platform: Platform, stamps: Iterable[Stamp]) -> list[Difference]:
    """Learners' events of a course that was there in time say what its version, module and lesson were."""
    return [
        difference
        for each in stamps
        for difference in differences(
            f"{each.events} events of lesson {each.lesson_id} of course {each.course_id}",
            {"stamp": _expected_stamp(platform.stamps, each)},
            {"stamp": each.stamp},
        )
    ]


def _expected_stamp(
    expected: Mapping[str, Mapping[str | None, Mapping[str, Any]]], found: Stamp
) -> Mapping[str, Any] | None:
    lessons = expected.get(found.course_id)
    return None if lessons is None else lessons.get(found.lesson_id, lessons[None])


async def read_time_zones(database: Database, user_ids: Collection[str]) -> dict[str, list[str | None]]:
    """The time zones with which these learners' events were stamped, by learner."""
    ids = [ObjectId(each) for each in user_ids]
    stages: list[Document] = [
        {"$match": {"event_data.user_id": {"$in": ids}, **_OF_LEARNERS}},
        {"$group": {"_id": {"user": "$event_data.user_id", "zone": "$time_zone"}}},
    ]
    zones: dict[str, list[str | None]] = {}
    with translated():
        found = await aggregate(database.course_events, stages)
    for each in found:
        zones.setdefault(str(each["_id"]["user"]), []).append(each["_id"].get("zone"))
    return zones


def compare_time_zones(platform: Platform, zones: Mapping[str, list[str | None]]) -> list[Difference]:
    """Learners whose account was there in time have the time zone of it in their events; of others none is known."""
    known = platform.time_zones
    return [
        difference
        for user_id, found in zones.items()
        for difference in differences(
            f"events of learner {user_id}", {"time_zone": [known.get(user_id)]}, {"time_zone": found}
        )
    ]


def count_by_collection(documents: Iterable[ExpectedDocument]) -> Counter[str]:
    """How many documents are expected in each collection."""
    return Counter(each.collection for each in documents)
