"""Ingest and its partitions, paused under load: nothing of them moves, the others go on, and nothing is lost."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.conftest import StackKind
from tests.integration.ingest.ledger import assert_exactly_once
from tests.support.ingest import RunningIngest, event, options, records, running, send
from tests.support.kafka import durable, gaps
from worker.contract.gaps import GapReason
from worker.errors import Retryable
from worker.gate import OPEN, Gate, Switches
from worker.ingest.assignment import Assignment
from worker.ingest.options import IngestOptions
from worker.kafka.consumer import EventConsumer
from worker.kafka.positions import Gap, LogRange
from worker.kafka.record import Partition
from worker.operate.control import commands
from worker.operate.control.controls import controls_of
from worker.operate.control.gaps import StopAtGaps
from worker.operate.control.targets import Known, Target
from worker.storage import audit
from worker.storage.control_documents import read_controls
from worker.storage.database import Database

EACH = 150


def _published(number: int) -> list[dict[str, Any]]:
    return [event(each % 9) for each in range(number)]


async def _send_to_all(kafka: str, topic: str, published: list[dict[str, Any]]) -> None:
    """The same number to each of four partitions."""
    share = len(published) // 4
    for partition in range(4):
        await send(
            kafka, topic, records(published[partition * share : (partition + 1) * share], partition=partition)
        )


async def _offsets(kafka: str, topic: str, chosen: IngestOptions) -> list[int]:
    return [offset or 0 for offset in await durable(kafka, topic, 4, chosen.consumer.kafka.group_id)]


async def _paused(ingest: RunningIngest, topic: str, number: int) -> None:
    await ingest.until(
        lambda: ingest.value("kafka_paused_partitions", topic=topic) == number, f"{number} partitions paused"
    )


@pytest.mark.slow
async def test_a_paused_partition_waits_through_a_restart_and_the_others_are_read(
    database: Database, kafka: str, topic: str, stack: StackKind
) -> None:
    chosen, published = options(kafka, topic), _published(4 * EACH)
    gate = Gate(Switches(partitions=frozenset({(topic, 1), ("elsewhere", 0)})))
    await _send_to_all(kafka, topic, published)
    async with running(database, chosen, gate=gate) as ingest:
        await ingest.until_assigned(4)
        await ingest.until(lambda: ingest.outcome("stored") == 3 * EACH, "three partitions are read")
        await _paused(ingest, topic, 1)
        if stack != "embedded":  # which tells no end of what nobody fetches
            lag = "kafka_consumer_lag_records"
            await ingest.until(
                lambda: ingest.value(lag, topic=topic, partition="1") == EACH, "its lag is shown"
            )
        await ingest.lives_on("ingest")
        assert ingest.consumed() == 3 * EACH
        assert ingest.value("kafka_scalable_lag_records", topic=topic) == 0
        assert ingest.value("kafka_breaker_open_partitions", topic=topic) == 0
    assert await _offsets(kafka, topic, chosen) == [EACH, 0, EACH, EACH]
    later = _published(20)
    async with running(database, chosen, gate=gate) as ingest:
        await ingest.until_assigned(4)
        await send(kafka, topic, records(later, partition=2))
        await ingest.until(lambda: ingest.outcome("stored") == 20, "another partition is read")
        await ingest.lives_on("ingest")
        assert ingest.consumed() == 20
        gate.turn(OPEN)
        await ingest.until(lambda: ingest.outcome("stored") == 20 + EACH, "it is read from its offset on")
        await _paused(ingest, topic, 0)
    assert await _offsets(kafka, topic, chosen) == [EACH, EACH, EACH + 20, EACH]
    await assert_exactly_once(database, [*published, *later], voids=None)


async def test_a_pause_that_ends_while_partitions_are_assigned_holds_up_nothing(
    database: Database, kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, published = Gate(Switches(partitions=frozenset({(topic, 1)}))), _published(10)
    real = Assignment.on_assigned

    async def then_it_ends(self: Assignment) -> None:
        await real(self)
        if self.durable:
            gate.turn(OPEN)

    monkeypatch.setattr(Assignment, "on_assigned", then_it_ends)
    await send(kafka, topic, records(published, partition=1))
    async with running(database, options(kafka, topic), gate=gate) as ingest:
        await ingest.until(lambda: ingest.outcome("stored") == 10, "it is read")


@pytest.mark.slow
async def test_a_paused_role_keeps_its_partitions_reads_none_and_goes_on(
    database: Database, kafka: str, topic: str
) -> None:
    chosen, published, gate = options(kafka, topic), _published(8 * EACH), Gate()
    async with running(database, chosen, gate=gate) as ingest:
        await ingest.until_assigned(4)
        await _send_to_all(kafka, topic, published[: 4 * EACH])
        await ingest.until(lambda: ingest.outcome("stored") > 0, "it is under load")
        gate.turn(Switches(roles=frozenset({"ingest"})))
        await _paused(ingest, topic, 4)
        await ingest.lives_on("ingest")  # what a poll under way had taken is stored
        read = ingest.consumed()
        await _send_to_all(kafka, topic, published[4 * EACH :])
        await ingest.lives_on("ingest", 2.0)
        assert ingest.consumed() == read
        assert ingest.value("kafka_assigned_partitions", topic=topic) == 4
        assert sum(await _offsets(kafka, topic, chosen)) == read
        gate.turn(OPEN)
        await ingest.until(lambda: ingest.outcome("stored") == 8 * EACH, "all is read")
    await assert_exactly_once(database, published, voids=None)


@pytest.mark.slow
async def test_a_rate_is_kept_and_changed_while_it_runs(database: Database, kafka: str, topic: str) -> None:
    published = _published(1_000)
    gate = Gate(Switches(rates={"ingest_per_s": 100.0}))
    async with running(database, options(kafka, topic), gate=gate) as ingest:
        await ingest.until_assigned(4)
        clock = ingest.role._clock  # noqa: SLF001
        began = clock.monotonic()  # before the first is sent: it is read while others still are
        await _send_to_all(kafka, topic, published)
        await ingest.until(lambda: ingest.consumed() >= 300, "300 are read")
        took_s = clock.monotonic() - began
        assert took_s >= (300 - 100) / 100 - 0.5  # a second's worth may come at once
        assert ingest.consumed() <= 100 * (clock.monotonic() - began) + 250
        gate.turn(OPEN)
        await ingest.until(lambda: ingest.outcome("stored") == 1_000, "the rest comes at once")
    await assert_exactly_once(database, published, voids=None)


@pytest.mark.slow
async def test_a_partition_stops_at_a_gap_until_somebody_has_looked(
    database: Database, kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, gone = EventConsumer.log_ranges, {"first": 0}

    async def as_after_retention(self: EventConsumer) -> Mapping[Partition, LogRange]:
        ranges = await real(self)
        return {p: replace(log, begin=gone["first"]) if p.number == 1 else log for p, log in ranges.items()}

    monkeypatch.setattr(EventConsumer, "log_ranges", as_after_retention)
    chosen, published, gate = options(kafka, topic), _published(40), Gate()
    known = Known(frozenset({topic}), frozenset())
    stops = StopAtGaps(database, "production", "ingest w1")

    async def look() -> None:
        number = gate.begin_read()
        gate.turn(controls_of(await read_controls(database, "production"), known).switches)
        gate.was_read(number)

    async with running(database, chosen, gate=gate, on_gaps=stops) as ingest:
        await send(kafka, topic, records(published[:10], partition=1))
        await ingest.until_processed(10)
    gone["first"] = 30
    others = _published(10)
    await send(kafka, topic, records(published[10:], partition=1))
    await send(kafka, topic, records(others, partition=0))
    async with running(database, chosen, gate=gate, on_gaps=stops) as ingest:
        await ingest.until(lambda: ingest.outcome("stored") == 10, "the other partition is read")
        await look()
        await ingest.lives_on("ingest", 3.0)
        assert ingest.consumed() == 10
        assert await gaps(database) == [("retention", 1, 10, 29)]
    target = Target("partition", topic, 1)
    [row] = await database.system_settings.find({}).to_list(None)
    assert row["value"]["reason"] == "offsets 10 to 29 are gone unread (retention)"
    [audited] = await database.audit.find({}).to_list(None)
    assert (audited["command"], audited["who"]) == ("control pause", "ingest w1")
    async with running(database, chosen, gate=gate, on_gaps=stops) as ingest:
        await ingest.until_assigned(4)
        await ingest.lives_on("ingest")
        assert ingest.consumed() == 0
        assert await commands.resume(database, target, "production")
        await look()
        await ingest.until(lambda: ingest.outcome("stored") == 10, "what lies behind the gap is read")
    assert await gaps(database) == [("retention", 1, 10, 29)]
    await assert_exactly_once(database, [*published[:10], *published[30:], *others], voids=None)


@pytest.mark.parametrize("stands", [None, {"untill": "tomorrow"}, {"value": False}])
async def test_one_that_was_killed_before_it_could_tell_tells_with_the_next_run(
    database: Database, monkeypatch: pytest.MonkeyPatch, stands: dict[str, Any] | None
) -> None:
    gap = Gap(Partition("t", 3), 10, 29, GapReason.RETENTION, "gone")
    target, stops = Target("partition", "t", 3), StopAtGaps(database, "production", "ingest w1")
    if stands is not None:  # what means nothing to a worker holds nobody up
        key = {"key": f"worker_control.{target.key}", "environment": "production"}
        await database.system_settings.insert_one({**key, "value": stands})

    async def killed(*_: object, **__: object) -> bool:
        raise Retryable("the process is killed here")

    with monkeypatch.context() as patched:
        patched.setattr(audit, "record", killed)
        with pytest.raises(Retryable):
            await stops([gap])
    assert await commands.paused(database, "production", target) is not None
    with capture_logs() as logs:
        for who in ("ingest w1", "ingest w2"):
            await StopAtGaps(database, "production", who)([gap])
    assert [each["event"] for each in logs] == ["partition_stopped_at_gap"]
    [row] = await database.audit.find({}).to_list(None)
    assert (row["command"], row["who"], row["status"]) == ("control pause", "ingest w1", "done")


async def test_a_partition_that_somebody_has_stopped_is_stopped_and_not_told_of_again(
    database: Database,
) -> None:
    target = Target("partition", "t", 3)
    await commands.pause(database, target, commands.Asked("production", "anna@ops", "ticket 4711"))
    await StopAtGaps(database, "production", "ingest w1")(
        [Gap(Partition("t", 3), 1, 2, GapReason.RETENTION, "gone")]
    )
    said = await commands.paused(database, "production", target)
    assert (said and said.who, await database.audit.count_documents({})) == ("anna@ops", 0)
