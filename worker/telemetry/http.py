"""One HTTP port for machines: /metrics, /livez, /readyz.

Served by threads of its own, so it answers while the event loop is stuck. Whatever a stranger sends there is answered
or hung up on; nothing but log lines comes of it.
"""

import asyncio
import json
import socket
import threading
from collections.abc import Iterable
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app
from waitress import wasyncore
from waitress.server import create_server

from worker.errors import Misconfigured
from worker.telemetry.health import Health
from worker.telemetry.http_connections import MOST, Connection
from worker.telemetry.stacks import describe_tasks

log = structlog.get_logger(__name__)

# A scrape takes some tens of milliseconds, a probe less: one slow client must not keep the others waiting.
_THREADS: Final = 4
# A client that sends nothing gives its place back after this many seconds, or strangers took those of the probes.
_SILENT_S: Final = 10
# How long closing waits for the server's thread to notice.
_TURN_S: Final = 0.2
# A probe sends a few hundred bytes. What is larger is refused before it is kept anywhere.
_LARGEST_REQUEST: Final = 16_384
# The two formats that Prometheus asks for. The client library reads the header itself, but not every legal spelling.
_OPEN_METRICS: Final = "application/openmetrics-text"
_ACCEPTED = {True: f"{_OPEN_METRICS}; version=1.0.0", False: "text/plain"}


class Probes:
    """The WSGI application behind the port."""

    def __init__(self, registry: CollectorRegistry, health: Health) -> None:
        self._metrics: Any = make_wsgi_app(registry)
        self._health = health
        self._loop: tuple[asyncio.AbstractEventLoop, int] | None = None
        self._reported: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._paths = {"/metrics": self._exposed, "/livez": self._live, "/readyz": self._ready}

    def watch_loop(self) -> None:
        """Name the running event loop as the one whose tasks are dumped when a component stalls."""
        self._loop = (asyncio.get_running_loop(), threading.get_ident())

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; never raises, and a HEAD has the headers of the GET and no body."""
        try:
            body = self._answered(environ, start_response)
        except Exception as error:  # the outermost frame of a request: its thread belongs to the server
            log.exception("http_request_failed", error_class=type(error).__name__)
            body = _answer(start_response, "500 Internal Server Error", {"error": "see the log"})
        return () if environ.get("REQUEST_METHOD") == "HEAD" else body

    def _answered(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("REQUEST_METHOD") not in {"GET", "HEAD"}:
            return _answer(start_response, "405 Method Not Allowed", {"error": "only GET and HEAD"})
        answer = self._paths.get(environ.get("PATH_INFO", ""))
        if answer is None:
            unknown = {"error": "no such path", "paths": list(self._paths)}
            return _answer(start_response, "404 Not Found", unknown)
        return answer(environ, start_response)

    def _exposed(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        accepted = _ACCEPTED[_OPEN_METRICS in environ.get("HTTP_ACCEPT", "").lower()]
        answers: list[tuple[str, list[tuple[str, str]]]] = []
        asked = {**environ, "REQUEST_METHOD": "GET", "HTTP_ACCEPT": accepted}
        body: list[bytes] = self._metrics(asked, lambda status, headers: answers.append((status, headers)))
        ((status, headers),) = answers
        length = ("Content-Length", str(sum(map(len, body))))
        start_response(status, [*headers, length, ("Cache-Control", "no-store")])
        return body

    def _live(self, _environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        components = self._health.components()
        stalled = [component.name for component in components if component.stalled]
        body = {
            "status": "stalled" if stalled else "ok",
            "stalled": stalled,
            "components": {
                component.name: {
                    "seconds_since_progress": round(component.seconds_since_progress, 1),
                    "stall_after_seconds": component.stall_after_s,
                }
                for component in components
            },
        }
        self._report(frozenset(stalled))
        return _answer(start_response, "503 Service Unavailable" if stalled else "200 OK", body)

    def _ready(self, _environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        reasons = self._health.dependencies()
        down = [name for name, reason in reasons.items() if reason is not None]
        body = {
            "status": "not ready" if down else "ready",
            "down": down,
            "dependencies": {name: reason or "up" for name, reason in reasons.items()},
            "paused": list(self._health.paused),
        }
        return _answer(start_response, "503 Service Unavailable" if down else "200 OK", body)

    def _report(self, stalled: frozenset[str]) -> None:
        """Log where the tasks stand, once per stall: a component that moved in between is reported again."""
        with self._lock:
            new, self._reported = stalled - self._reported, stalled
        if not new:
            return
        tasks = describe_tasks(*self._loop, first=new) if self._loop is not None else []
        log.error("component_stalled", components=sorted(new), tasks=tasks)


def _answer(start_response: StartResponse, status: str, body: dict[str, Any]) -> list[bytes]:
    payload = json.dumps(body, indent=1).encode() + b"\n"
    length = ("Content-Length", str(len(payload)))
    start_response(status, [("Content-Type", "application/json"), length, ("Cache-Control", "no-store")])
    return [payload]


class HttpServer:
    """Serves an application from threads of its own. `port` 0 picks a free one; `.port` tells which."""

    def __init__(
        self, application: WSGIApplication, host: str, port: int, *, silent_s: int = _SILENT_S
    ) -> None:
        """Bind at once: raises `Misconfigured` when the address cannot be had."""
        listening = _bound(host, port)
        self.host = host
        self.port: int = listening.getsockname()[1]
        self._sockets: dict[int, Any] = {}
        self._server: Any = create_server(
            application,
            map=self._sockets,
            sockets=[listening],
            threads=_THREADS,
            connection_limit=2 * MOST,  # never reached: there it would stop listening
            channel_timeout=silent_s,
            cleanup_interval=1,
            max_request_header_size=_LARGEST_REQUEST,
            max_request_body_size=_LARGEST_REQUEST,
            log_socket_errors=False,
            ident=None,
        )
        self._server.channel_class = Connection
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def close(self) -> None:
        """Stop answering and free the port; requests under way are cut off. May be called twice."""
        self._closing.set()
        self._thread.join()
        self._server.task_dispatcher.shutdown()

    def _serve(self) -> None:
        while not self._closing.is_set():
            # By poll: `select` ends where a process has a thousand files open.
            wasyncore.loop(timeout=_TURN_S, use_poll=True, map=self._sockets, count=1)
        wasyncore.close_all(self._sockets, ignore_all=True)


def _bound(host: str, port: int) -> socket.socket:
    """A socket on an address of this machine; raises `Misconfigured` for one that is not, or is taken."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen()  # two sockets can be bound to one port, but only one can listen
    except (OSError, OverflowError, UnicodeError) as error:
        made.close()
        why = error.strerror if isinstance(error, OSError) else "no such address"
        raise Misconfigured(
            f"cannot listen on {host} port {port} ({why}): "
            "choose another with SEVENP_HTTP_HOST, SEVENP_HTTP_PORT"
        ) from error
    return made
