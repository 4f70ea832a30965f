"""One HTTP port for machines: /metrics, /livez, /readyz.

Served by threads of its own, so it answers while the event loop is stuck.
"""

import asyncio
import json
import socket
import threading
from collections.abc import Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

from worker.errors import Misconfigured
from worker.telemetry.health import Health
from worker.telemetry.stacks import describe_tasks

log = structlog.get_logger(__name__)


class Probes:
    """The WSGI application behind the port."""

    def __init__(self, registry: CollectorRegistry, health: Health) -> None:
        self._metrics: Any = make_wsgi_app(registry)
        self._health = health
        self._loop: tuple[asyncio.AbstractEventLoop, int] | None = None
        self._reported: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def watch_loop(self) -> None:
        """Name the running event loop as the one whose tasks are dumped when a component stalls."""
        self._loop = (asyncio.get_running_loop(), threading.get_ident())

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if environ.get("REQUEST_METHOD") not in {"GET", "HEAD"}:
            return _answer(start_response, "405 Method Not Allowed", {"error": "only GET and HEAD"})
        if path == "/metrics":
            body: Iterable[bytes] = self._metrics(environ, start_response)
            return body
        if path == "/livez":
            return self._live(start_response)
        if path == "/readyz":
            return self._ready(start_response)
        paths = ["/metrics", "/livez", "/readyz"]
        return _answer(start_response, "404 Not Found", {"error": "no such path", "paths": paths})

    def _live(self, start_response: StartResponse) -> Iterable[bytes]:
        components = self._health.components()
        stalled = [component.name for component in components if component.stalled]
        self._report(frozenset(stalled))
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
        return _answer(start_response, "503 Service Unavailable" if stalled else "200 OK", body)

    def _ready(self, start_response: StartResponse) -> Iterable[bytes]:
        dependencies = self._health.dependencies()
        down = [dependency.name for dependency in dependencies if not dependency.is_up]
        body = {
            "status": "not ready" if down else "ready",
            "down": down,
            "dependencies": {
                dependency.name: "up" if dependency.is_up else dependency.reason
                for dependency in dependencies
            },
        }
        return _answer(start_response, "503 Service Unavailable" if down else "200 OK", body)

    def _report(self, stalled: frozenset[str]) -> None:
        """Log where the tasks stand, once per stall: a component that moved in between is reported again."""
        with self._lock:
            new, self._reported = stalled - self._reported, stalled
        if not new:
            return
        tasks = describe_tasks(*self._loop, first=new) if self._loop is not None else []
        log.error("component stalled", components=sorted(new), tasks=tasks)


def _answer(start_response: StartResponse, status: str, body: dict[str, Any]) -> list[bytes]:
    payload = json.dumps(body, indent=1).encode() + b"\n"
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(payload))),
        ("Cache-Control", "no-store"),
    ]
    start_response(status, headers)
    return [payload]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # WSGIServer's own would look the host's name up in DNS, which can hang at start.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    # A client that sends nothing gives its thread back after this many seconds.
    timeout = 10

    def log_message(self, *_arguments: object) -> None:
        """Probes come every few seconds: they are not news."""


class HttpServer:
    """Serves an application from a daemon thread. `port` 0 picks a free one; `.port` tells which."""

    def __init__(self, application: WSGIApplication, host: str, port: int) -> None:
        """Bind at once: raises `Misconfigured` when the address cannot be had."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server_class = type("_FamilyServer", (_Server,), {"address_family": family})
        try:
            self._server: WSGIServer = server_class((host, port), _Handler)
        except OSError as error:
            raise Misconfigured(
                f"cannot listen on {host} port {port} ({error.strerror}): "
                "choose another with SEVENP_HTTP_HOST, SEVENP_HTTP_PORT"
            ) from error
        self._server.set_app(application)
        self.host = host
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def close(self) -> None:
        """Stop answering and free the port; waits for the accept loop (half a second), not for clients."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
