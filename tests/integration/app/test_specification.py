"""The specification's samples all at once: their events are published, and a worker makes every document of them."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest
from bson import ObjectId

from projections.catalogue import EVERY
from projections.event import StoredEvent
from tests.conftest import RunningMongo
from tests.oracle.case import Case
from tests.oracle.check import check_case
from tests.oracle.stored import read_stored
from tests.spec import test_content, test_courses, test_users, test_versions
from tests.spec.compare import SAMPLES, sample, unexplained
from tests.spec.extract import paths
from tests.spec.test_all import NOT_FROM_THESE_EVENTS
from tests.support.courses import COURSE, TEACHER, story
from tests.support.ingest import Sent, send
from tests.support.waiting import NotInTime, until
from tests.support.worker_process import StartWorker
from tests.unit.projections.events import event
from worker.contract.codec import encode, record_key
from worker.contract.families import ALL_TYPES
from worker.contract.family import FURTHER_IDS, Inlet
from worker.devstack.servers.topics import create_topic
from worker.storage.database import Database, Document, open_database
from worker.storage.schema import apply_schema
from worker.verify.run import verify

REVISED = ObjectId("65a4f0c2e13b7a0001aaaaab")
"""The course whose versions are those of the specification; `COURSE` is its course."""
SETTINGS = {
    Inlet.CONTENT: "content_topic",
    Inlet.ACCOUNTS: "account_topic",
    Inlet.BILLING: "billing_topic",
}
PAID = {"transaction_id": "txn_1", "amount": "199.99", "currency": "USD", "method": "card"}

OTHERWISE: Mapping[str, Mapping[str, str]] = {
    **test_content.OTHERWISE,
    "courses": {
        "stats": "sums over the records of its learners, of whom there is one here",
        "instructor.social_proof": "sums over all courses of the instructor, who has two here",
    },
    "users": {
        "stats": "sums over what the user learns and teaches",
        "search_fields.searchable_text": test_users.NOT_OF_THE_FOLD["search_fields.searchable_text"],
    },
    "course_versions": test_versions.COMPUTED,
}
"""By collection the paths of the sample that the document has with another value, and why."""
NOT_THERE: Mapping[str, Mapping[str, str]] = {
    "users": {"password_hash": test_users.NOT_OF_THE_FOLD["password_hash"]}
}
"""By collection the paths of the sample that the worker never writes, and why."""
PROOF = {"students_taught": 1, "courses_created": 2, "average_rating": 5.0}
TEACHING = {"courses_created": 2, "total_students": 1, "avg_rating": 5.0, "total_revenue": 199.99}


def published(name: str, events: Iterable[StoredEvent], **ids: Any) -> Iterator[Document]:
    """The events as their producers send them, with other `ids`; `name` makes the events' own ids unique."""
    for each in events:
        known = {"user_id": each.user_id, "course_id": each.course_id, "lesson_id": each.lesson_id}
        known |= {further: each.ids.get(further) for further in FURTHER_IDS}
        known |= {which: other for which, other in ids.items() if known[which] is not None}
        yield {
            "event_id": str(uuid5(NAMESPACE_OID, f"{name}:{each.event_id}")),
            "event_type": each.event_type,
            "occurred_at": each.occurred_at.isoformat(),
            **{which: str(identity) for which, identity in known.items() if identity is not None},
            **({"value": each.value} if each.value is not None else {}),
            **({"details": dict(each.details)} if each.details else {}),
        }


def all_events() -> Iterator[Document]:
    """What rebuilds every sample, and one learner of the course, who pays for it and rates it."""
    yield from published("course", story(test_courses.events_of(sample("courses"))))
    yield from published(
        "versions", story(test_versions.events(sample("course_versions"))), course_id=REVISED
    )
    yield from published("user", test_users.events_of(sample("users")), user_id=TEACHER)
    for name, (_, events) in test_content.REBUILT.items():
        yield from published(name, events)
    learner = [event("course_enrolled", 100, details={"payment": PAID}), event("course_rated", 200, value=5)]
    yield from published("learner", learner, course_id=COURSE)


async def documents(database: Database) -> Mapping[str, Document | None]:
    """By collection the document that must be what the sample is."""
    keys: Mapping[str, Document] = {
        "courses": {"_id": COURSE},
        "users": {"_id": ObjectId(TEACHER)},
        "course_versions": {"course_id": REVISED, "version": sample("course_versions")["version"]},
        "version_history": {"_id": REVISED},
    }
    rebuilt = SAMPLES.keys() - NOT_FROM_THESE_EVENTS.keys()
    return {name: await database.collection(name).find_one(keys.get(name, {})) for name in rebuilt}


async def wrong(database: Database) -> Mapping[str, list[str]]:
    """By collection the paths of the sample that the document lacks, or has otherwise without a reason."""
    found: dict[str, list[str]] = {}
    for name, document in (await documents(database)).items():
        wanted, absent = sample(name), NOT_THERE.get(name, {})
        if document is None:
            found[name] = ["there is no document"]
            continue
        otherwise = {**OTHERWISE.get(name, {}), **absent}
        missing = {*paths(wanted)} - {*paths(document)} - absent.keys()
        found[name] = [*unexplained(wanted, document, otherwise), *sorted(missing)]
    return {name: some for name, some in found.items() if some}


async def shown(database: Database) -> bool:
    """Whether the instructor and both courses show what they add up to."""
    teacher = await database.users.find_one({"_id": ObjectId(TEACHER)}) or {}
    stats = teacher.get("stats", {})
    proofs = [each["instructor"].get("social_proof") async for each in database.courses.find({})]
    return {name: stats.get(name) for name in TEACHING} == TEACHING and proofs == [PROOF] * 2


@pytest.mark.slow
async def test_a_worker_makes_every_sample_of_the_specification_of_published_events(
    database: Database, mongodb: RunningMongo, kafka: str, topic: str, start_worker: StartWorker
) -> None:
    own = open_database(database.client, database.prefix, EVERY)
    await apply_schema(own)
    topics = {inlet: f"{topic}-{inlet}" for inlet in SETTINGS}
    for each in topics.values():
        await create_topic(kafka, each, 1)
    sent: dict[str, list[Sent]] = {}
    for fields in all_events():
        value = encode(fields)
        inlet = ALL_TYPES.by_name[fields["event_type"]].inlet
        sent.setdefault(topics.get(inlet, topic), []).append(Sent(value, record_key(value)))
    for name, records in sent.items():
        await send(kafka, name, records)
    worker = start_worker(
        roles="ingest,progress,counts,retry",
        courses_owner="worker",
        users_owner="worker",
        **{SETTINGS[inlet]: name for inlet, name in topics.items()},
    )
    await asyncio.to_thread(worker.wait_until_ready)

    async def whole() -> bool:
        return not await wrong(own)

    try:
        await until(whole, "every document is what the specification has")
    except NotInTime as error:
        raise AssertionError(await wrong(own)) from error
    await until(lambda: shown(own), "the sums of the instructor")
    worker.popen.terminate()
    assert await asyncio.to_thread(worker.exit_code) == 0
    assert await own.dead_letters.count_documents({}) == 0
    assert (await verify(own, quiescent=True)).finding_counts == {}
    stored = await asyncio.to_thread(read_stored, mongodb.uri, own.prefix)
    assert check_case(Case(stored, owned=frozenset({"courses", "users"})), {3, 5, 6}) == []


def test_each_exception_is_a_field_of_the_specification() -> None:
    for reasons in (OTHERWISE, NOT_THERE):
        for name, some in reasons.items():
            assert set(some) <= set(paths(sample(name))), name
