"""Whatever BSON anybody stores, in any collection and any field: verify ends with findings, never with an error."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from uuid import uuid4

import bson
import pytest
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.conftest import RunningMongo
from tests.integration.verify.counted import counted, store_counted
from tests.integration.verify.dead_letters import in_parts
from tests.integration.verify.history import START, learner, store
from tests.integration.verify.test_verify_damage import group_lease, item, position
from tests.support.odd_bson import documents, values
from worker.storage.database import CODEC_OPTIONS, Database, Document, make_client, open_database
from worker.storage.driver import close
from worker.storage.elements import elements, joined
from worker.storage.schema import apply_schema
from worker.verify import findings
from worker.verify.run import verify

Odd = tuple[str, int, tuple[int, bytes]]

HEALTHY = learner("healthy")
TARGET = learner("vic")
HISTORY = counted([TARGET])
DEAD_LETTER, PART, _ = in_parts(1)
# One good document of each kind, a field of which is then anything.
GOOD: Mapping[str, tuple[str, Document]] = {
    "event": ("course_events", dict(TARGET.events[2])),
    "row": ("user_interactions", TARGET.rows[2]),
    "record": ("user_progress", dict(TARGET.progress)),
    "projection": ("user_progress_projections", HISTORY.projections[0]),
    "notification": ("notifications", HISTORY.notifications[0]),
    "billing": (
        "billing_transactions",
        {"_id": ObjectId(), "event_id": uuid4(), "transaction_id": "t", "amount": 1, "created_at": START},
    ),
    "course": ("courses", HISTORY.course),
    "user": ("users", HISTORY.users[0]),
    "item": ("analytics_queue", item(TARGET.stream)),
    "dead_letter": ("dead_letters", DEAD_LETTER),
    "part": ("dead_letters", PART),
    "lease": ("leases", group_lease("progress:03")),
    "position": ("projection_state", position("progress:03")),
}


@pytest.fixture(scope="module")
def prefix(mongodb: RunningMongo) -> Iterator[str]:
    """A store that gets odder with every example; one learner in it stays as it should be."""
    name = f"test_{uuid.uuid4().hex[:12]}"

    async def prepare(database: Database) -> None:
        await apply_schema(database)
        await store(database, [HEALTHY, TARGET])
        await store_counted(database, counted([HEALTHY, TARGET]), [])

    asyncio.run(_within(mongodb.uri, name, prepare))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(findings, "FINDINGS_KEPT", 100_000)
        yield name
    with MongoClient[Document](mongodb.uri) as client:
        for database in client.list_database_names():
            if database.startswith(name):
                client.drop_database(database)


async def _within(uri: str, name: str, work: Callable[[Database], Awaitable[None]]) -> None:
    client = make_client(uri)
    try:
        await work(open_database(client, prefix=name))
    finally:
        await close(client)


def damaged(kind: str, place: int, value: tuple[int, bytes]) -> bytes:
    """The good document with any value in its `place`-th field, under an id of its own if that is not the field."""
    good = dict(GOOD[kind][1])
    if isinstance(good["_id"], uuid.UUID):
        good["_id"] = uuid4()
    else:
        good["_id"] = ObjectId() if isinstance(good["_id"], ObjectId) else f"{good['_id']}~{ObjectId()}"
    fields = list(elements(bson.encode(good, codec_options=CODEC_OPTIONS)))
    chosen = place % len(fields)
    fields[chosen] = fields[chosen]._replace(kind=value[0], value=value[1])
    return joined(fields)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    odd=st.lists(
        st.tuples(st.sampled_from(sorted(GOOD)), st.integers(0, 40), values()), min_size=20, max_size=40
    ),
    others=st.lists(st.tuples(st.sampled_from(sorted(GOOD)), documents()), max_size=10),
)
def test_a_check_of_anything_ends_with_findings(
    mongodb: RunningMongo, prefix: str, odd: Sequence[Odd], others: Sequence[tuple[str, bytes]]
) -> None:
    stored = [(GOOD[kind][0], damaged(kind, place, value)) for kind, place, value in odd]
    stored += [(GOOD[kind][0], raw) for kind, raw in others]

    async def check(database: Database) -> None:
        for collection, raw in stored:
            try:
                await database.collection(collection).insert_many(
                    [RawBSONDocument(raw)],
                    bypass_document_validation=True,
                )
            except (PyMongoError, bson.errors.BSONError, ValueError, TypeError):
                continue  # the server, or the driver on the way there, does not take it
        checked = await verify(database, quiescent=True)
        about = [finding for finding in checked.findings if finding.subject == HEALTHY.stream]
        assert about == []

    asyncio.run(_within(mongodb.uri, prefix, check))
