"""Metrics as Prometheus sees them: asked for over HTTP.

A new set of metrics is at 0 or absent: one that moves is found by a sample that is not 0. Whoever adds a metric
names it in a call of `until_moved` or `until_moved_at` in some test: tests/unit/telemetry/test_every_metric_moves.py
looks for it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support.waiting import until
from tests.support.worker_process import fetch
from worker.telemetry.health import Health
from worker.telemetry.http import HttpServer, Probes
from worker.telemetry.metrics import PREFIX, Metrics, declared_metrics
from worker.timing import SystemClock

_SUFFIXES = ("", "_bucket", "_sum", "_count")


def samples_at(url: str) -> list[Sample]:
    """Every sample that a worker's port shows; nothing while nobody answers there."""
    families = text_string_to_metric_families(fetch(f"{url}/metrics")[1])
    return [sample for family in families for sample in family.samples]


def value_at(url: str, name: str, **labels: str) -> float | None:
    """One sample, None where there is none: that is not 0."""
    full_name = f"{PREFIX}_{name}"
    found = (each for each in samples_at(url) if each.name == full_name and each.labels == labels)
    return next((each.value for each in found), None)


def moved_at(url: str) -> set[str]:
    """The names, without prefix, of the metrics of which a sample is not 0."""
    declared = declared_metrics()
    names = {sample.name.removeprefix(f"{PREFIX}_") for sample in samples_at(url) if sample.value}
    return {name.removesuffix(suffix) for name in names for suffix in _SUFFIXES} & declared.keys()


@contextmanager
def served(metrics: Metrics) -> Iterator[str]:
    """The metrics behind a port of their own; its URL."""
    server = HttpServer(Probes(metrics.registry, Health(SystemClock())), "127.0.0.1", 0)
    try:
        yield server.url
    finally:
        server.close()


async def until_moved_at(url: str, *names: str) -> None:
    """Wait until each of these has moved, as a worker's port tells."""

    async def moved() -> bool:
        return set(names) <= await asyncio.to_thread(moved_at, url)

    await until(moved, f"{', '.join(names)} move")


async def until_moved(metrics: Metrics, *names: str) -> None:
    """Wait until each of these has moved, as a scrape tells."""
    with served(metrics) as url:
        await until_moved_at(url, *names)
