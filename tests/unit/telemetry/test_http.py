"""The port answers while the event loop does not."""

import asyncio
import json
import logging
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.clocks import ManualClock
from worker.errors import Misconfigured
from worker.telemetry import http_connections
from worker.telemetry.health import Health
from worker.telemetry.http import HttpServer, Probes
from worker.telemetry.logs import LOWEST_LEVELS
from worker.telemetry.metrics import Metrics


class Site:
    """A served set of probes over a clock the test moves."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.health = Health(self.clock, self.metrics)
        self.probes = Probes(self.metrics.registry, self.health)
        self.server = HttpServer(self.probes, "127.0.0.1", 0, silent_s=1)

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
    stalls = [entry for entry in logs if entry["event"] == "component_stalled"]
    assert [entry["components"] for entry in stalls] == [["ingest"], ["ingest"]]
    (described,) = [text for text in stalls[0]["tasks"] if text.startswith("task ingest:")]
    assert "waits_for_ever" in described
    assert "Event.wait" in described


def test_a_probe_is_not_news(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    with capture_logs() as logs:
        site.get("/livez")
    assert logs == []
    assert capfd.readouterr().err == ""


def test_closing_frees_the_port_and_may_be_done_twice(site: Site) -> None:
    site.server.close()
    site.server.close()
    HttpServer(site.probes, "127.0.0.1", site.server.port).close()


def conversation(site: Site, request: bytes) -> bytes:
    """All that comes back to these bytes until the other side hangs up."""
    with socket.create_connection(("127.0.0.1", site.server.port), 60) as client:
        client.sendall(request)
        answer = b""
        while part := client.recv(65_536):
            answer += part
    return answer


def asked(method: str, path: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/nowhere"])
def test_head_has_the_headers_of_get_and_no_body(site: Site, path: str) -> None:
    whole = conversation(site, asked("GET", path))
    head = conversation(site, asked("HEAD", path))
    assert head.partition(b"\r\n\r\n")[2] == b""
    assert head.splitlines()[0] == whole.splitlines()[0]
    assert whole.partition(b"\r\n\r\n")[2] != b""


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ('application/openmetrics-text; version="1.0.0"', b"application/openmetrics-text; version=1.0.0"),
        ("application/openmetrics-text;version=x", b"application/openmetrics-text; version=1.0.0"),
        ("Application/OpenMetrics-Text;q=0.5,*/*;q=0.1", b"application/openmetrics-text; version=1.0.0"),
        ('text/plain; version="', b"text/plain; version=0.0.4"),
        ("\xff;;;,,", b"text/plain; version=0.0.4"),
    ],
)
def test_metrics_come_in_one_of_two_formats_whatever_is_asked_for(
    site: Site, accept: str, content_type: bytes
) -> None:
    answer = conversation(site, asked("GET", "/metrics", f"Accept: {accept}"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert content_type in head
    assert b"sevenp_worker_events_dropped_total" in body


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),  # a TLS client hello
        b"GET\r\n\r\n",
        b"GET http://[/livez HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"GET /%ff%00%0a HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics?name[]=" + b"a" * 10_000 + b" HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_a_stranger_sends_is_answered_and_nothing_reaches_stderr(
    site: Site,
    request_bytes: bytes,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with suppress(ConnectionResetError):  # refused in the middle of what it sent
        conversation(site, request_bytes)
    assert site.get("/livez")[0] == 200
    assert capfd.readouterr().err == ""
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_url_that_cannot_be_taken_apart_is_a_bad_request(site: Site) -> None:
    assert conversation(site, b"GET http://[/livez HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 400"
    )


def test_however_many_hold_a_connection_a_probe_is_answered(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connections, "MOST", 20)
    holding = [socket.create_connection(("127.0.0.1", site.server.port), 60) for _ in range(60)]
    try:
        for _ in range(3):
            for client in holding:
                with suppress(OSError):  # the oldest made room for the others
                    client.sendall(b"X")
            assert site.get("/livez")[0] == 200
        holding[0].settimeout(60)
        with suppress(ConnectionResetError):
            assert holding[0].recv(1) == b""
    finally:
        for client in holding:
            client.close()


def test_whoever_sends_a_byte_at_a_time_is_hung_up_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connections, "LONGEST_S", 1.0)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", site.server.port), 60) as client:
        client.settimeout(0.05)
        with suppress(OSError):
            while time.monotonic() - began < 60:
                client.sendall(b"X")
                with suppress(TimeoutError):
                    if client.recv(1) == b"":
                        break
    assert time.monotonic() - began < 60


def test_a_reset_connection_is_no_news(
    site: Site, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for library, lowest in LOWEST_LEVELS.items():
        caplog.set_level(lowest, library)
    with caplog.at_level(logging.INFO):
        for request in (b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"):
            client = socket.create_connection(("127.0.0.1", site.server.port), 60)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(request)
            client.close()  # sends a reset
        assert site.get("/livez")[0] == 200
    assert caplog.records == []
    assert capfd.readouterr().err == ""


def test_clients_that_say_nothing_do_not_take_the_place_of_a_probe(site: Site) -> None:
    silent = [socket.create_connection(("127.0.0.1", site.server.port), 60) for _ in range(300)]
    try:
        for client in silent:
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        assert site.get("/livez")[0] == 200
        silent[0].settimeout(60)
        began = time.monotonic()
        silent[0].recv(65_536)  # the server hangs up, or says that it waited in vain
        assert time.monotonic() - began < 60
    finally:
        for client in silent:
            client.close()


def test_a_defect_while_answering_costs_its_own_request(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.health, "components", lambda: 1 / 0)
    with capture_logs() as logs:
        assert site.get("/livez")[0] == 500
    assert [entry["event"] for entry in logs] == ["http_request_failed"]
    assert site.get("/readyz")[0] == 200
