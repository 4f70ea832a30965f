"""The whole worker, run once on real parts: the oracle finds nothing, and looked at everything but a receiver."""

import asyncio
import urllib.request
from pathlib import Path

import pytest

from tests.chaos.traffic import ledger_of
from tests.integration.devstack.test_demo import kept_demo
from tests.oracle import Evidence
from tests.oracle.case import Case
from tests.oracle.check import check_case, not_checked
from tests.oracle.kafka import read_log
from tests.oracle.quiescence import metrics_at_quiescence
from tests.oracle.stored import Stored, read_stored
from tests.support.waiting import until
from worker.devstack.simulator.simulation import simulate

SEED, RECORDS = 11, 1_500
GROUP, TOPIC, PREFIX = "sevenp-worker", "interaction-events", "education_platform"
# The devices of simulated learners stand in their events, and in nobody's log.
CANARY = "SevenP-App/5.1"


@pytest.mark.slow
def test_a_real_run_breaks_no_invariant(tmp_path: Path) -> None:
    with kept_demo(tmp_path, "--seed", str(SEED), "--events", str(RECORDS)) as (_, printed):
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
