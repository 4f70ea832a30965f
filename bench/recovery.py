"""How long events wait when something dies, joins or leaves: `python -m bench.recovery --tries 20 --json FILE`.

A worker, mongod or the broker is killed by SIGKILL under a steady stream of events. The time is from the kill to the
time when events of every partition that was waited for, published after the kill, are in the event store.
"""

import argparse
import asyncio
import json
import logging
import math
import statistics
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

from bench.house import PARTITIONS, TOPIC, House, house
from bench.steady_load import CLOCK, SteadyLoad, steady_load
from worker.errors import Fatal
from worker.settings import Settings

SESSION_TIMEOUT_S = Settings.model_fields["session_timeout_ms"].default / 1000
PARTS = ("static", "dynamic", "servers")
_READY_LIMIT_S = 120.0
_CALM_S = 8.0  # before and after a join or a leave: what the events published in this time had to wait


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of fault: seconds of each try, what is promised of their 99th percentile, and where it holds."""

    name: str
    seconds: Sequence[float]
    goal_s: float | None

    @property
    def p99(self) -> float:
        """By nearest rank: with fewer than 100 tries this is the slowest."""
        return sorted(self.seconds)[math.ceil(0.99 * len(self.seconds)) - 1]

    @property
    def met(self) -> bool | None:
        return None if self.goal_s is None else self.p99 <= self.goal_s


Attempt = Callable[[House, SteadyLoad], Awaitable[float]]


def static(name: str) -> dict[str, str]:
    """Settings of a worker that keeps its place in the group when it is restarted."""
    return {"SEVENP_KAFKA_GROUP_INSTANCE_ID": name}


async def worker_killed(house: House, load: SteadyLoad, settings: dict[str, str]) -> float:
    """The only worker dies and is started again at once."""
    began = CLOCK.monotonic()
    house.kill("a")
    house.start("a", settings)
    return await load.recovered(began)


async def replaced(house: House, load: SteadyLoad, settings: dict[str, str]) -> float:
    """One of two workers dies and stays away; its partitions are waited for. Then it comes back for the next try."""
    began = CLOCK.monotonic()
    house.kill("b")
    took = await load.recovered(began)
    house.start("b", settings)
    await shared(house)
    return took


async def mongod_killed(house: House, load: SteadyLoad) -> float:
    """Mongod dies and is started again at once; the time is from its being primary again."""
    await house.restart_mongod()
    return await load.recovered(CLOCK.monotonic())


async def broker_killed(house: House, load: SteadyLoad) -> float:
    """The only broker dies and is started again at once; the time is from its answering again."""
    await house.restart_broker()
    return await load.recovered(CLOCK.monotonic())


async def joined(house: House, load: SteadyLoad) -> float:
    """A second worker joins: the longest that an event had to wait."""
    began = CLOCK.monotonic()
    house.start("b")
    await shared(house)
    return await _slowest_since(load, began)


async def left(house: House, load: SteadyLoad) -> float:
    """The second worker is stopped: the longest that an event had to wait."""
    began = CLOCK.monotonic()
    await house.stop("b")
    return await _slowest_since(load, began)


async def _slowest_since(load: SteadyLoad, began: float) -> float:
    await CLOCK.sleep(_CALM_S)
    await load.caught_up()
    return load.slowest(began - 1, CLOCK.monotonic())


async def owns(house: House, name: str) -> int:
    """Partitions the worker owns, as its metrics say."""
    counts = await house.workers[name].counts(TOPIC)
    return 0 if counts is None else len(counts.lags)


async def shared(house: House) -> None:
    """Wait until two workers have halves of the partitions."""
    await _until(house, lambda: _owned(house, {"a": PARTITIONS // 2, "b": PARTITIONS // 2}))


async def alone(house: House) -> None:
    """Wait until one worker has all partitions."""
    await _until(house, lambda: _owned(house, {"a": PARTITIONS}))


async def _owned(house: House, wanted: dict[str, int]) -> bool:
    return {name: await owns(house, name) for name in wanted} == wanted


async def _until(house: House, condition: Callable[[], Awaitable[bool]]) -> None:
    end = CLOCK.monotonic() + _READY_LIMIT_S
    while not await condition():
        for worker in house.workers.values():
            worker.require_alive()
        if CLOCK.monotonic() > end:
            raise Fatal("the workers do not share the partitions as expected")
        await CLOCK.sleep(0.1)


async def repeat(house: House, tries: int, seed: int, attempt: Attempt) -> list[float]:
    """The attempt again and again; in between everything is stored, and a random while passes."""
    chance, seconds = Random(seed), []  # noqa: S311 - a repeatable order, not a secret
    for _ in range(tries):
        async with steady_load(house) as load:
            await CLOCK.sleep(chance.uniform(1.0, 2.0))
            await load.caught_up()
            seconds.append(await attempt(house, load))
            await load.caught_up()
    return seconds


Say = Callable[[Row], None]


async def measure(tries: int, seed: int, say: Say, parts: Collection[str]) -> list[Row]:
    """The faults of these parts, each part in a house of its own, side by side: most of the time everybody waits."""
    houses: Mapping[str, Callable[[int, int, Say], Awaitable[list[Row]]]] = {
        "static": partial(_deaths, "static"),
        "dynamic": partial(_deaths, "dynamic"),
        "servers": _servers_and_members,
    }
    rows = await asyncio.gather(*(part(tries, seed, say) for name, part in houses.items() if name in parts))
    return [row for some in rows for row in some]


async def _deaths(word: str, tries: int, seed: int, say: Say) -> list[Row]:
    """A worker dies and comes back, and one of two dies and stays away, with names in the group or without."""
    takeover_s = SESSION_TIMEOUT_S + 2
    first, second = (static("a"), static("b")) if word == "static" else ({}, {})
    async with house() as one:
        one.start("a", first)
        await alone(one)
        restarted = Row(
            f"worker killed and restarted, {word} member",
            await repeat(one, tries, seed, lambda h, p: worker_killed(h, p, first)),
            3.0 if word == "static" else takeover_s,
        )
        say(restarted)
        one.start("b", second)
        await shared(one)
        taken = Row(
            f"worker killed, another takes over, {word} members",
            await repeat(one, tries, seed, lambda h, p: replaced(h, p, second)),
            takeover_s,
        )
        say(taken)
        return [restarted, taken]


async def _servers_and_members(tries: int, seed: int, say: Say) -> list[Row]:
    """Servers die under one worker; then a second worker comes and goes."""
    async with house() as one:
        one.start("a")
        await alone(one)
        mongod = Row(
            "mongod killed and restarted, from primary again",
            await repeat(one, tries, seed, mongod_killed),
            5.0,
        )
        say(mongod)
        broker = Row(
            "broker killed and restarted, from answering", await repeat(one, tries, seed, broker_killed), 10.0
        )
        say(broker)
        joins, leaves = [], []
        for turn in range(tries):
            joins += await repeat(one, 1, seed + turn, joined)
            leaves += await repeat(one, 1, seed + turn, left)
        came = Row("a second worker joins, slowest event", joins, None)
        went = Row("a second worker leaves, slowest event", leaves, None)
        say(came)
        say(went)
        return [mongod, broker, came, went]


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    return [
        {
            "fault": row.name,
            "tries": len(row.seconds),
            "median_s": round(statistics.median(row.seconds), 2),
            "p99_s": round(row.p99, 2),
            "goal_s": row.goal_s,
            "met": row.met,
        }
        for row in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="members of a kind, or servers and members"
    )
    options = parser.parse_args()
    # The client's complaints of servers that are being killed are no news here.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console()

    def say(row: Row) -> None:
        console.print(f"{row.name}: median {statistics.median(row.seconds):.2f} s, p99 {row.p99:.2f} s")

    rows = asyncio.run(measure(options.tries, options.seed, say, options.only or PARTS))
    table = Table(title=f"Recovery, {options.tries} tries each")
    for heading in ("fault", "median s", "p99 s", "goal s", "met"):
        table.add_column(heading)
    for row in rows:
        goal, met = ("", "") if row.goal_s is None else (f"{row.goal_s:g}", "yes" if row.met else "no")
        table.add_row(row.name, f"{statistics.median(row.seconds):.2f}", f"{row.p99:.2f}", goal, met)
    console.print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(rows), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
