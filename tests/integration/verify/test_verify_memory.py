"""A check holds some MB, however long a stream is and however large the documents are."""

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any
from uuid import UUID

import bson
import pytest
from bson import ObjectId
from bson.raw_bson import RawBSONDocument

from tests.conftest import RunningMongo
from tests.integration.verify.history import COURSE, START, learner, progress_of, record_of
from worker.contract.identity import stream_id, stream_object_id, stream_slot
from worker.storage.database import CODEC_OPTIONS, Database, Document
from worker.storage.documents import interaction_row

LIMIT_MIB = 256
# Runs one check and says how much memory it had at most, in MiB, and what it found.
CHECK = """
import asyncio, json, pathlib, re, sys
from worker.verify.run import verify
from worker.storage.database import make_client, open_database

async def main():
    database = open_database(make_client(sys.argv[1]), prefix=sys.argv[2])
    found = await verify(database, quiescent=True)
    status = pathlib.Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\\s+([0-9]+)", status)[1]) / 1024
    print(json.dumps({"peak_mib": peak, "events": found.counts["events"], "findings": dict(found.finding_counts)}))

asyncio.run(main())
"""


def checked(mongodb: RunningMongo, database: Database) -> dict[str, Any]:
    command = [sys.executable, "-c", CHECK, mongodb.uri, database.prefix]
    finished = subprocess.run(  # noqa: S603 - our own interpreter
        command, capture_output=True, text=True, timeout=400, check=True
    )
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


async def insert(collection: Any, documents: list[Document]) -> None:
    for start in range(0, len(documents), 5_000):
        raw = [
            RawBSONDocument(bson.encode(each, codec_options=CODEC_OPTIONS))
            for each in documents[start : start + 5_000]
        ]
        await collection.insert_many(raw, ordered=False)


@pytest.mark.long
async def test_a_stream_of_100_000_events(mongodb: RunningMongo, database: Database) -> None:
    first = learner("long").events[1]
    events = [
        {
            **first,
            "_id": UUID(int=version + (1 << 100)),
            "version": version,
            "metadata": {
                name: value
                for name, value in (
                    {**first["metadata"], "source": record_of("long", version).document()}.items()
                )
                if name != "fingerprint_version"
            },
        }
        for version in range(1, 100_001)
    ]
    await insert(database.course_events, events)
    await insert(database.user_interactions, [interaction_row(event) for event in events])
    await insert(database.user_progress, [progress_of(events[:1])])

    result = checked(mongodb, database)

    assert (result["events"], result["findings"]) == (100_000, {"progress_behind": 1})
    assert result["peak_mib"] < LIMIT_MIB, result


@pytest.mark.slow
@pytest.mark.parametrize("platforms_mb", [0, pytest.param(4, marks=pytest.mark.long)])
async def test_learners_with_huge_records(
    mongodb: RunningMongo, database: Database, platforms_mb: int
) -> None:
    """Records of a thousand lessons, and users whose logs the platform has filled."""
    known = learner("large")
    lesson = known.progress["lesson_progress"][0]
    state = known.progress["state"]
    ids = [ObjectId() for _ in range(1_000)]
    (lesson_state,) = list(state["lessons"].values())[:1]
    large = {
        **known.progress,
        "lesson_progress": [{**lesson, "lesson_id": each, "notes": "n" * 300} for each in ids],
        "state": {**state, "lessons": {str(each): lesson_state for each in ids}},
        "platforms": "x" * (platforms_mb * 1_000_000 if platforms_mb else 0),
    }
    for _ in range(120 if not platforms_mb else 8):
        user = ObjectId()
        stream = stream_id(COURSE, user)
        owner = {"stream_id": stream, "slot": stream_slot(stream)}
        event = {**known.events[0], **owner, "_id": UUID(bytes=user.binary + b"\0\0\0\0")}
        event["event_data"] = {**event["event_data"], "user_id": user}
        await insert(database.course_events, [event])
        await insert(
            database.user_progress, [{**large, **owner, "_id": stream_object_id(stream), "user_id": user}]
        )
        if platforms_mb:
            log = [{"action": "login", "timestamp": START + timedelta(minutes=n)} for n in range(80_000)]
            await insert(database.users, [{"_id": user, "email": f"{user}@e.example", "activity_log": log}])
    await database.user_progress_projections.insert_one({"_id": ObjectId()}, bypass_document_validation=True)

    result = checked(mongodb, database)

    assert result["peak_mib"] < LIMIT_MIB, result
