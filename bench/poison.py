"""What bad records cost the good ones: `python -m bench.poison --events 100000 --rounds 3`.

The same events twice, alone and with poison among them: 1 of 100 records, of every kind that the decoding refuses.
Runs are interleaved; the rate counts good events only, and each run's collections are counted in full afterwards.
"""

import argparse
import asyncio
import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import cycle
from statistics import median

from rich.console import Console

from bench.contestants.field import INGEST
from bench.fixture import PARTITIONS, Fixture, fixture, kafka_here, publish_workload
from bench.race import Run, described, run_once
from bench.records import Workload
from worker.kafka.files import OutgoingRecord

GOAL_LOST = 0.10
_EVERY = 100
_POISON = (
    b"",
    b"\xff\xfe",
    b"not JSON",
    b"[]",
    b'{"event_type": "view", "event_type": "view"}',
    b'{"event_type": "view"}',
    b'{"event_type": "no such type"}',
    b'{"value": 1e999}',
    b'{"value": 99999999999999999999}',
    b"[" * 5_000,
    b'{"details": "' + b"x" * 300_000 + b'"}',
)


def poisoned(records: Iterable[OutgoingRecord]) -> Iterator[OutgoingRecord]:
    """The records, and after every 99 of them one that cannot be an event."""
    poison = cycle(_POISON)
    for number, record in enumerate(records, start=1):
        yield record
        if number % (_EVERY - 1) == 0:
            yield OutgoingRecord(next(poison), record.key)


async def measure(given: Fixture, workload: Workload, rounds: int, console: Console) -> float:
    """The share of the rate that is lost to poison."""
    healthy = await publish_workload(given, "healthy", workload)
    await given.publish("poisoned", PARTITIONS, poisoned(workload.records()))
    runs: dict[str, list[Run]] = {"healthy": [], "poisoned": []}
    for _ in range(rounds):
        for topic, done in runs.items():
            done.append(await run_once(given, INGEST, replace(healthy, topic=topic)))
            console.print(f"{topic}: {described(done[-1])}")
    rate, with_poison = (median(run.rate for run in done) for done in runs.values())
    return 1 - with_poison / rate


async def _main(events: int, rounds: int, console: Console) -> None:
    async with fixture(kafka_here()) as given:
        lost = await measure(given, Workload(events), rounds, console)
    met = "met" if lost <= GOAL_LOST else "missed"
    console.print(f"lost to 1 % of poison: {lost:.1%} of the rate; goal {GOAL_LOST:.0%}: {met}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    asyncio.run(_main(options.events, options.rounds, Console(soft_wrap=True)))


if __name__ == "__main__":
    main()
