"""What both watchers share: how they wait, what a token tells of its stream, and when it is saved."""

import asyncio
from collections.abc import Mapping

import pytest

from tests.support.clocks import ManualClock
from tests.support.scraping import until_moved
from tests.support.waiting import LIMIT_S
from worker.errors import Retryable
from worker.storage.leases import Token
from worker.telemetry.metrics import Metrics
from worker.timing import Backoff
from worker.watch.stream.checkpoint import TokenSaver
from worker.watch.stream.liveness import StreamLiveness


def token(at_s: int) -> Token:
    return {"_data": f"82{at_s:08X}000000032B0229296E04"}


async def test_waits_grow_with_failures_in_a_row_and_stay_within_their_bounds() -> None:
    clock, beats = ManualClock(), []
    backoff = Backoff(clock, lambda: beats.append(clock.monotonic()), seed=3)
    waits = []
    for _ in range(40):
        before = clock.monotonic()
        await backoff.wait(asyncio.Event())
        waits.append(clock.monotonic() - before)
    assert waits[0] == pytest.approx(0.05)
    assert all(0.05 <= wait <= 5.0 for wait in waits)
    assert max(waits) > 3.0
    assert len(beats) == 80
    backoff.reset()
    before = clock.monotonic()
    await backoff.wait(asyncio.Event())
    assert clock.monotonic() - before == pytest.approx(0.05)


async def test_a_pause_ends_at_once_when_told_to_stop() -> None:
    class Standstill(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    stop = asyncio.Event()
    stop.set()
    async with asyncio.timeout(LIMIT_S):
        await Backoff(Standstill(), lambda: None).pause(stop, 3_600)


def value(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(f"sevenp_worker_{name}", {"watcher": "counts"})


async def test_a_moving_token_tells_the_lag_and_that_the_stream_lives() -> None:
    clock, metrics = ManualClock(), Metrics()
    liveness = StreamLiveness("counts", clock, metrics, silent_after_s=60)
    now_s = int(clock.now().timestamp())
    liveness.observe(token(now_s - 7), idle=False)
    assert value(metrics, "change_stream_lag_seconds") == pytest.approx(7, abs=1)
    assert value(metrics, "change_stream_last_heartbeat_timestamp_seconds") == clock.now().timestamp()
    await until_moved(metrics, "change_stream_lag_seconds", "change_stream_last_heartbeat_timestamp_seconds")
    liveness.observe(token(now_s - 7), idle=True)
    assert value(metrics, "change_stream_lag_seconds") == 0.0


def test_a_token_that_stands_still_for_too_long_means_silence() -> None:
    clock = ManualClock()
    liveness = StreamLiveness("counts", clock, Metrics(), silent_after_s=60)
    liveness.observe(token(1_000), idle=True)
    clock.advance(59)
    liveness.observe(token(1_000), idle=True)
    clock.advance(2)
    with pytest.raises(Retryable, match="silent"):
        liveness.observe(token(1_000), idle=True)
    liveness.observe(token(2_000), idle=True)


class Saved:
    """Positions that remember what was saved, and refuse a number of groups."""

    def __init__(self, refused: int = 0) -> None:
        self.tokens: list[Token] = []
        self.refused = refused

    async def save(self, held: Mapping[int, int], token: Token) -> int:
        self.tokens.append(token)
        return self.refused


def saver(positions: Saved, clock: ManualClock, metrics: Metrics | None = None) -> TokenSaver:
    return TokenSaver(
        positions.save,
        "counts",
        clock,
        metrics or Metrics(),
        every_s=1.0,
        idle_every_s=10.0,
    )


async def test_a_token_is_saved_soon_after_changes_and_rarely_without() -> None:
    clock, positions = ManualClock(), Saved()
    saving = saver(positions, clock)
    moments = []
    for second in range(40):
        if second == 20:
            saving.took_effect(3)
        before = len(positions.tokens)
        await saving.save({0: 1}, token(second))
        if len(positions.tokens) > before:
            moments.append(second)
        clock.advance(1)
    assert moments == [10, 20, 30]
    saving.took_effect(1)
    await saving.save({0: 1}, token(99))
    await saving.save({0: 1}, token(100))
    assert positions.tokens[-1] == token(99)
    await saving.save({0: 1}, token(100), at_once=True)
    assert positions.tokens[-1] == token(100)


async def test_a_refused_save_is_counted() -> None:
    metrics = Metrics()
    await saver(Saved(refused=2), ManualClock(), metrics).save({0: 1, 1: 1}, token(1), at_once=True)
    fenced = metrics.registry.get_sample_value("sevenp_worker_fenced_writes_total", {"component": "counts"})
    assert fenced == 2
