"""The whole worker, run on real parts: the oracle finds nothing, and looked at everything but a receiver."""

import asyncio
import urllib.request
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from tests.chaos.traffic import ledger_of
from tests.integration.devstack.test_demo import kept_demo
from tests.oracle import Entry, Evidence
from tests.oracle.case import Case
from tests.oracle.check import check_case, not_checked
from tests.oracle.kafka import read_log
from tests.oracle.quiescence import metrics_at_quiescence
from tests.oracle.stored import Stored, read_stored
from tests.support.waiting import until
from worker.contract.codec import stream_of
from worker.devstack.simulator.lives.platform import PlatformRecord
from worker.devstack.simulator.simulation import simulate

SEED, RECORDS = 11, 1_500
GROUP, TOPIC, PREFIX = "sevenp-worker", "interaction-events", "education_platform"
# The devices of simulated learners stand in their events, and in nobody's log.
CANARY = "SevenP-App/5.1"


# Without them the demo publishes what learners do, and writes courses and users as a platform that keeps them.
NO_PLATFORM = dict.fromkeys(("SEVENP_CONTENT_TOPIC", "SEVENP_ACCOUNT_TOPIC", "SEVENP_BILLING_TOPIC"), "none")


@pytest.mark.slow
def test_a_real_run_breaks_no_invariant(tmp_path: Path) -> None:
    simulated = ("--seed", str(SEED), "--events", str(RECORDS))
    with kept_demo(tmp_path, *simulated, **NO_PLATFORM) as (_, printed):
        metrics = _at_rest(printed["metrics"])
        stored = read_stored(printed["MongoDB"], PREFIX)
        log = asyncio.run(read_log(printed["Kafka"], TOPIC, GROUP))
        worker_log = (Path(printed["logs"]) / "worker.log").read_text(encoding="utf-8")
    evidence = Evidence(
        log=log, metrics={"worker": metrics}, logs={"worker.log": worker_log}, canaries=[CANARY]
    )
    case = Case(stored, list(ledger_of(simulate(SEED, RECORDS).records)), evidence, in_order=True)

    assert len(log.records) == RECORDS
    assert worker_log
    assert check_case(case) == []
    assert not_checked(case) == {7: "no receiver's log"}


@pytest.mark.slow
def test_a_whole_platform_breaks_none_either(tmp_path: Path) -> None:
    """Its metrics never come to rest: a name and a slug that others have wait in the queue, as they must."""
    simulated = simulate(SEED, RECORDS)
    with kept_demo(tmp_path, "--seed", str(SEED), "--events", str(RECORDS)) as (_, printed):
        stored = read_stored(printed["MongoDB"], PREFIX)
    platform = [_entry(each) for each in simulated.platform.records]
    ledger = [*ledger_of(simulated.records), *platform]
    case = Case(stored, ledger, owned=frozenset({"courses", "users"}))

    assert len(stored.courses) == len(simulated.platform.expected("courses"))
    assert check_case(case) == []


def _entry(record: PlatformRecord) -> Entry:
    """What must become of a record of the platform's."""
    event_id, stream = UUID(orjson.loads(record.value)["event_id"]), stream_of(record.value)
    match record.outcome:
        case "ok":
            return Entry(event_id, stream, "ok", record.value)
        case "duplicate":
            return Entry(event_id, stream, "duplicate", record.value)
        case "conflict":
            return Entry(event_id, stream, "conflict", record.value)
        case _:
            return Entry(event_id, stream, "poison", record.value, reason=record.outcome)


def _at_rest(address: str) -> str:
    """The worker's metrics, once they say that nothing waits: lag is measured every few seconds."""
    texts: list[str] = []

    def quiescent() -> bool:
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - our own worker's address
            texts.append(answer.read().decode())
        case = Case(Stored(), evidence=Evidence(metrics={"worker": texts[-1]}))
        return next(metrics_at_quiescence(case), None) is None

    asyncio.run(until(quiescent, "the worker's metrics to come to rest"))
    return texts[-1]
