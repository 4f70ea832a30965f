"""Records of long courses: an event sets its lesson's entry alone, and what somebody wrote beside it is mended."""

from typing import Any

from bson import ObjectId
from pymongo import monitoring

from tests.conftest import RunningMongo
from tests.support.progress import documents, expected, highest_versions, histories, projector, store
from worker.storage.database import Database, Document, make_client, open_database
from worker.storage.driver import close

UNTOUCHED = [ObjectId() for _ in range(60)]


class Updates(monitoring.CommandListener):
    """What is set, update by update."""

    def __init__(self) -> None:
        self.paths: list[set[str]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name == "update":
            self.paths += [set(each["u"]["$set"]) for each in event.command["updates"]]

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


def of_a_long_course(events: list[Document]) -> list[Document]:
    """The learner's events, the first of which names their lessons and sixty others."""
    touched = dict.fromkeys(
        each["event_data"]["lesson_id"] for each in events if "lesson_id" in each["event_data"]
    )
    listed = b"".join(each.binary for each in [*UNTOUCHED[:30], *touched, *UNTOUCHED[30:]])
    return [{**events[0], "curriculum": {"version": "1", "lessons": listed}}, *events[1:]]


async def test_an_event_sets_its_lesson_alone_and_mends_what_others_wrote(
    database: Database, mongodb: RunningMongo
) -> None:
    [(stream, events)] = histories(learners=1, events=12).items()
    events = of_a_long_course(events)
    await store(database, events[:9])
    await projector(database).project({stream: 9})
    shown = await database.user_progress.find_one({})
    assert shown is not None
    assert [each["status"] for each in shown["lesson_progress"]].count("not_started") >= 60

    listener = Updates()
    client = make_client(mongodb.uri, listeners=[listener])
    try:
        watched = open_database(client, database.prefix)
        for event in events[9:]:
            await store(database, [event])
            await projector(watched).project({stream: event["version"]})
    finally:
        await close(client)
    assert all("lesson_progress" not in paths for paths in listener.paths)
    assert any(path.startswith("lesson_progress.") for paths in listener.paths for path in paths)
    assert await documents(database) == await expected(database)


async def test_what_somebody_wrote_into_the_lessons_is_mended_with_the_next_event(database: Database) -> None:
    streams = histories(learners=4, events=12)
    stored = {stream: of_a_long_course(events) for stream, events in streams.items()}
    await store(database, [event for events in stored.values() for event in events[:9]])
    await projector(database).project(dict.fromkeys(stored, 9))
    odd: list[dict[str, Any]] = [
        {"$pop": {"lesson_progress": 1}},
        {"$set": {"lesson_progress.3.status": "completed"}},
        {"$set": {"lesson_progress": "none"}},
        {"$push": {"lesson_progress": 7}},
    ]
    for stream, change in zip(stored, odd, strict=True):
        await database.user_progress.update_one(
            {"stream_id": stream}, change, bypass_document_validation=True
        )

    await store(database, [event for events in stored.values() for event in events[9:]])
    await projector(database).project(await highest_versions(database))

    assert await documents(database) == await expected(database)
