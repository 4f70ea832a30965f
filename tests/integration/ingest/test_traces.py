"""W3C trace context from a record's headers: kept with the event, carried on, shown, and never in the way."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.commands import sevenp_worker
from tests.support.ingest import Sent, event, learner, options, records, running, send
from worker.app.exits import ExitCode
from worker.app.redriving import open_redriver
from worker.contract.codec import encode
from worker.retry.redrive import redrive
from worker.settings import load_settings
from worker.storage.database import Database
from worker.storage.event_traces import trace_at, traces_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
OTHER = f"00-{'a' * 32}-{'b' * 16}-00"


def sent(fields: dict[str, Any] | bytes, *headers: tuple[str, bytes]) -> Sent:
    value = fields if isinstance(fields, bytes) else encode(fields)
    return Sent(value, b"k", 0, headers)


def traced(fields: dict[str, Any] | bytes, parent: str = PARENT, state: bytes | None = None) -> Sent:
    headers = [("traceparent", parent.encode())] + ([] if state is None else [("tracestate", state)])
    return sent(fields, *headers)


async def stored(database: Database) -> dict[str, dict[str, Any]]:
    """The metadata of each stored event, by its id."""
    found = await database.course_events.find({}).to_list(None)
    return {str(each["_id"]): each["metadata"] for each in found}


async def test_a_trace_is_kept_with_its_event_and_what_is_none_costs_nothing(
    database: Database, kafka: str, topic: str
) -> None:
    whole, plain, odd, long, binary = (event(number) for number in range(5))
    await send(
        kafka,
        topic,
        [
            traced(whole, state=b"rojo=1, congo=2"),
            sent(plain, ("other", b"1")),
            traced(odd, parent="00-nobody-knows-01", state=b"a=1"),
            traced(long, state=b"a=" + b"x" * 100_000),
            sent(binary, ("traceparent", b"\xff\xfe"), ("traceparent", PARENT.encode())),
            # The same events under another trace, and under none: duplicates, and what is stored stays.
            traced(whole, parent=OTHER),
            sent(whole),
            traced(plain),
        ],
    )
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(8)
        assert (ingest.outcome("stored"), ingest.outcome("duplicate"), ingest.outcome("conflict")) == (
            5,
            3,
            0,
        )
    found = await stored(database)
    assert found[whole["event_id"]]["traceparent"] == PARENT
    assert found[whole["event_id"]]["tracestate"] == "rojo=1,congo=2"
    assert found[long["event_id"]]["traceparent"] == PARENT
    assert found[binary["event_id"]]["traceparent"] == PARENT
    assert "tracestate" not in found[long["event_id"]]
    for fields in (plain, odd):
        assert {"traceparent", "tracestate"} & found[fields["event_id"]].keys() == set()
    assert await database.dead_letters.count_documents({}) == 0
    assert await database.user_interactions.count_documents({"metadata.traceparent": {"$exists": True}}) == 0

    ids = [each["_id"] for each in await database.course_events.find({}, {"_id": 1}).to_list(None)]
    traces = await traces_of(database, [*ids, None, "no id"])
    assert {str(each): trace.trace_id for each, trace in traces.items()} == {
        fields["event_id"]: TRACE for fields in (whole, long, binary)
    }
    document = await database.course_events.find_one({"metadata.tracestate": "rojo=1,congo=2"})
    assert document is not None
    at_milestone = await trace_at(database, document["stream_id"], document["occurred_at"])
    assert at_milestone is not None
    assert at_milestone.trace_id == TRACE
    assert await trace_at(database, document["stream_id"], document["recorded_at"]) is None


@pytest.mark.slow
async def test_the_log_names_the_trace_of_a_dead_letter_and_a_redrive_carries_it_on(
    database: Database, kafka: str, topic: str, settings: dict[str, str]
) -> None:
    late = {**event(0), "occurred_at": "2097-03-01T10:00:00.000Z"}
    good = event(1)
    with capture_logs() as logs:
        await send(kafka, topic, [traced(b"{"), traced(late, state=b"a=1"), traced(good)])
        async with running(database, options(kafka, topic)) as ingest:
            await ingest.until_processed(3)
    (line,) = [each for each in logs if each["event"] == "records_dead_lettered"]
    assert line["records"] == 2
    assert {each["trace_id"] for each in line["groups"]} == {TRACE}
    names = [each["_id"] for each in await database.dead_letters.find({}).sort("offset", 1).to_list(None)]

    async with open_redriver(load_settings(kafka_bootstrap_servers=kafka), idempotent=False) as publish:
        result = await redrive(database, names, publish)
    assert result.sent == names
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(2)
    again = await database.dead_letters.find({"offset": {"$gte": 3}}).to_list(None)
    assert len(again) == 2
    for each in again:
        assert {"key": "traceparent", "value": PARENT.encode()} in each["headers"]

    ended = await sevenp_worker(settings, "trace", good["event_id"], "--json")
    assert (ended.code, json.loads(ended.output)["trace_id"]) == (ExitCode.OK, TRACE), ended.output
    place = f"{topic}:0:0"
    ended = await sevenp_worker(settings, "trace", place)
    assert f"Trace {TRACE}." in ended.output
    stream = f"course_{good['course_id']}_user_{learner(1)}"
    ended = await sevenp_worker(settings, "events", "show", stream)
    assert ended.code == ExitCode.OK, ended.output
    assert TRACE in ended.output
    ended = await sevenp_worker(settings, "events", "show", stream, "--version", "1", "--json")
    assert json.loads(ended.output)["metadata"]["traceparent"] == PARENT


async def test_where_nobody_sends_traces_the_list_of_events_has_no_column_for_them(
    database: Database, kafka: str, topic: str, settings: dict[str, str]
) -> None:
    await send(kafka, topic, records([event(1)], partition=0))
    async with running(database, options(kafka, topic)) as ingest:
        await ingest.until_processed(1)
    stream = f"course_{event(1)['course_id']}_user_{learner(1)}"
    ended = await sevenp_worker(settings, "events", "show", stream)
    assert ended.code == ExitCode.OK, ended.output
    (columns,) = [line for line in ended.output.splitlines() if "origin" in line]
    assert "trace" not in columns
