"""The port answers while the event loop does not."""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.clocks import ManualClock
from worker.errors import Misconfigured
from worker.telemetry.health import Health
from worker.telemetry.http import HttpServer, Probes
from worker.telemetry.metrics import Metrics


class Site:
    """A served set of probes over a clock the test moves."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.health = Health(self.clock, self.metrics)
        self.probes = Probes(self.metrics.registry, self.health)
        self.server = HttpServer(self.probes, "127.0.0.1", 0)

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        request = urllib.request.Request(self.server.url + path, method=method)  # noqa: S310 - our own server
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own server
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def json(self, path: str) -> tuple[int, dict[str, Any]]:
        status, body = self.get(path)
        return status, json.loads(body)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.close()


def test_metrics_are_served(site: Site) -> None:
    status, body = site.get("/metrics")
    assert status == 200
    assert "sevenp_worker_events_dropped_total" in body


def test_a_worker_whose_components_move_is_alive(site: Site) -> None:
    site.health.component("ingest")
    status, body = site.json("/livez")
    assert (status, body["status"], body["stalled"]) == (200, "ok", [])


def test_a_stalled_component_is_named_with_the_time_since_its_progress(site: Site) -> None:
    site.health.component("ingest")
    moving = site.health.component("progress")
    site.clock.advance(50)
    moving.beat()
    status, body = site.json("/livez")
    assert (status, body["stalled"]) == (503, ["ingest"])
    assert body["components"]["ingest"]["seconds_since_progress"] == 50


def test_a_dependency_that_is_down_makes_the_worker_unready_but_not_dead(site: Site) -> None:
    site.health.dependency("kafka").up()
    site.health.dependency("mongodb").down("connection refused")
    status, body = site.json("/readyz")
    assert (status, body["down"]) == (503, ["mongodb"])
    assert body["dependencies"] == {"kafka": "up", "mongodb": "connection refused"}
    assert site.json("/livez")[0] == 200


def test_a_worker_whose_dependencies_answer_is_ready(site: Site) -> None:
    site.health.dependency("kafka").up()
    assert site.json("/readyz")[0] == 200


def test_an_unknown_path_names_the_known_ones(site: Site) -> None:
    status, body = site.json("/health")
    assert status == 404
    assert "/livez" in body["paths"]


def test_nothing_can_be_posted(site: Site) -> None:
    assert site.get("/metrics", method="POST")[0] == 405


def test_a_taken_port_is_reported_as_a_setting_to_change(site: Site) -> None:
    with pytest.raises(Misconfigured, match="SEVENP_HTTP_PORT"):
        HttpServer(site.probes, "127.0.0.1", site.server.port)


async def test_the_port_answers_while_the_event_loop_is_blocked(site: Site) -> None:
    answers: list[int] = []
    asked = threading.Thread(target=lambda: answers.append(site.get("/livez")[0]))
    asked.start()
    asked.join(timeout=20)  # blocks the loop on purpose
    assert answers == [200]


async def test_a_stall_is_logged_once_with_where_the_tasks_wait(site: Site) -> None:
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    component = site.health.component("ingest")
    stuck = asyncio.create_task(waits_for_ever(), name="ingest")
    await asyncio.to_thread(str)  # gives the task its first turn
    site.probes.watch_loop()
    with capture_logs() as logs:
        for _ in range(2):
            site.clock.advance(60)
            assert (await asyncio.to_thread(site.get, "/livez"))[0] == 503
        component.beat()
        assert (await asyncio.to_thread(site.get, "/livez"))[0] == 200
        site.clock.advance(60)
        await asyncio.to_thread(site.get, "/livez")
    stuck.cancel()
    stalls = [entry for entry in logs if entry["event"] == "component stalled"]
    assert [entry["components"] for entry in stalls] == [["ingest"], ["ingest"]]
    (described,) = [text for text in stalls[0]["tasks"] if text.startswith("task ingest:")]
    assert "waits_for_ever" in described
    assert "Event.wait" in described


def test_a_probe_is_not_news(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    with capture_logs() as logs:
        site.get("/livez")
    assert logs == []
    assert capfd.readouterr().err == ""
