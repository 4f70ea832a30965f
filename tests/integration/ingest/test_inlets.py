"""Every inlet by the settings: each event stored once, on its own topic only, and topics that come later."""

from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.ingest import Sent, event, options, records, running, send, with_kafka
from worker.contract.codec import encode, record_key
from worker.contract.export import examples
from worker.contract.families import ALL_TYPES, families_of
from worker.contract.family import Inlet
from worker.contract.identity import parse_stream_id
from worker.devstack.servers.topics import create_topic
from worker.ingest.options import IngestOptions
from worker.settings import StartPolicy
from worker.storage.database import Database
from worker.verify.findings import Kind
from worker.verify.run import verify

SETTINGS = {
    Inlet.CONTENT: "content_topic",
    Inlet.ACCOUNTS: "account_topic",
    Inlet.BILLING: "billing_topic",
    Inlet.WORKER: "worker_topic",
}
EXAMPLES = examples()


def _others(topic: str) -> Mapping[str, str]:
    """A topic of its own for each further inlet."""
    return {setting: f"{topic}-{inlet}" for inlet, setting in SETTINGS.items()}


def _topic_of(inlet: Inlet, topic: str) -> str:
    return topic if inlet is Inlet.INTERACTIONS else f"{topic}-{inlet}"


def _sent(event_type: str) -> Sent:
    value = encode(EXAMPLES[event_type])
    return Sent(value, record_key(value))


def _reads_all(kafka: str, topic: str, **changes: Any) -> IngestOptions:
    return options(kafka, topic, others=_others(topic), **changes)


async def test_an_event_of_every_type_is_stored_once_and_refused_on_every_other_topic(
    database: Database, kafka: str, topic: str
) -> None:
    inlets = [inlet for inlet in Inlet if families_of(inlet)]
    for inlet in inlets:
        await create_topic(kafka, _topic_of(inlet, topic), 2)
        # What belongs there, twice; and all else, which does not.
        own = [name for name, family in ALL_TYPES.by_name.items() if family.inlet is inlet]
        await send(kafka, _topic_of(inlet, topic), [_sent(name) for name in [*own, *own, *ALL_TYPES.by_name]])
    number, chosen = len(ALL_TYPES.by_name), _reads_all(kafka, topic)
    async with running(database, chosen) as ingest:

        def outcomes(name: str) -> int:
            topics = [_topic_of(inlet, topic) for inlet in inlets]
            return sum(
                int(ingest.value("events_processed_total", topic=each, outcome=name)) for each in topics
            )

        await ingest.until(lambda: outcomes("stored") == number, "each event is stored")
        await ingest.until(lambda: outcomes("duplicate") == 2 * number, "and known when it comes again")
        refused = number * (len(inlets) - 1)
        await ingest.until(lambda: outcomes("dead_lettered") == refused, "and refused elsewhere")
    async with running(database, with_kafka(chosen, group_id=f"again-{topic}")) as ingest:
        await ingest.until(lambda: outcomes("redelivered") == number, "read again, each is found")
        assert outcomes("stored") == 0
    # Not the payment that the enrolment's record brought as well.
    named = {"event_data.details.enrolment_id": {"$exists": False}}
    stored = {each["event_type"]: each async for each in database.course_events.find(named)}
    assert stored.keys() == ALL_TYPES.by_name.keys()
    for name, document in stored.items():
        family = ALL_TYPES.by_name[name]
        assert document["metadata"]["source"]["topic"] == _topic_of(family.inlet, topic)
        assert tuple(parse_stream_id(document["stream_id"]) or ()) == tuple(
            f"{each}_id" for each in family.about
        )
    rows = await database.user_interactions.distinct("metadata.interaction_type")
    assert {*rows} == {name for name, family in ALL_TYPES.by_name.items() if family.time_series}
    assert await database.dead_letters.distinct("reason") == ["unknown_event_type"]
    # Nobody folds here; of events and rows everything is as it must be.
    found = (await verify(database)).findings
    assert not [each for each in found if each.kind in (Kind.DOCUMENT, Kind.VERSION, Kind.EVENT, Kind.ROW)]


@pytest.mark.slow
@pytest.mark.parametrize("policy", list(StartPolicy))
async def test_a_topic_that_is_not_there_yet_costs_nothing_and_is_read_from_its_begin_once_it_is(
    database: Database, kafka: str, topic: str, policy: StartPolicy
) -> None:
    absent = _topic_of(Inlet.BILLING, topic)
    chosen = options(kafka, topic, start_policy=policy, others={"billing_topic": absent})
    with capture_logs() as logs:
        async with running(database, chosen) as ingest:
            await ingest.until_assigned(4)
            await send(kafka, topic, records([event(1)]))
            await ingest.until(lambda: ingest.outcome("stored") == 1, "the learners' topic is read meanwhile")
            [told] = [each for each in logs if each["event"] == "topic_absent"]
            assert (told["topic"], told["reason"]) == (absent, "it does not exist")
            assert "topic apply" in told["remedy"]
            await create_topic(kafka, absent, 1)
            await send(kafka, absent, [_sent("promotion_created")])
            await ingest.until(
                lambda: ingest.value("events_processed_total", topic=absent, outcome="stored") == 1,
                "what was published before it was read",
            )
            await send(kafka, topic, records([event(2)]))
            await ingest.until(lambda: ingest.outcome("stored") == 2, "and the learners' topic goes on")
    assert [each["topics"] for each in logs if each["event"] == "topics_appeared"] == [[absent]]


async def test_looking_for_an_absent_topic_does_not_make_it(
    database: Database, kafka: str, topic: str
) -> None:
    """Brokers that make what somebody subscribes to would make it with too few partitions and copies."""
    async with running(database, options(kafka, topic, others={"billing_topic": f"{topic}-never"})) as ingest:
        await ingest.until_assigned(4)
        await ingest.until(lambda: ingest.value("kafka_topic_partitions", topic=topic) == 4, "Kafka has told")
        assert ingest.value("kafka_topic_partitions", topic=f"{topic}-never") == 0
