"""A webhook receiver that does what receivers do: refuse, stall, ask to wait, hang up, ramble, die and return."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

# A reply far beyond every bound, written until the other side hangs up.
_CHUNK = b"x" * 65_536


@dataclass(frozen=True, slots=True)
class Posted:
    """One request as it arrived."""

    path: str
    key: str
    body: bytes
    headers: dict[str, str]


@dataclass(slots=True)
class Reply:
    """What to answer: `status`, extra headers; `stall_s` first; `body` endless, huge or nothing; or just hang up."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    stall: bool = False
    endless: bool = False
    endless_headers: bool = False
    hang_up: bool = False


Answer = Callable[[Posted, int], Reply]


class HttpReceiver:
    """Answers by `answer(request, how many times its key came)`; `port` stays the same after `die` and `revive`."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer: Answer = answer or (lambda _posted, _times: Reply())
        self.posted: list[Posted] = []
        self.accepted: Counter[str] = Counter()
        self.bodies: defaultdict[str, set[bytes]] = defaultdict(set)
        self.written_bytes = 0
        self.release = threading.Event()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.revive()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.die()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def keys(self) -> Counter[str]:
        return Counter(posted.key for posted in self.posted)

    def revive(self) -> None:
        """Listen (again)."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver.handle(self)

            def do_GET(self) -> None:
                receiver.handle(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def die(self) -> None:
        """Stop listening; from now on nothing is accepted on the connections of before either."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        if len(body) < length:  # whoever sent it died over it: no request has arrived
            handler.close_connection = True
            return
        key = handler.headers.get("Idempotency-Key") or ""
        posted = Posted(handler.path, key, body, dict(handler.headers.items()))
        with self._lock:
            self.posted.append(posted)
            self.bodies[key].add(body)
            times = self.keys[key]
        reply = self.answer(posted, times)
        if reply.stall:
            self.release.wait(30)
        with self._lock:
            gone = handler.server is not self._server or reply.hang_up
            if not gone and not reply.endless_headers:
                self.accepted[key] += 200 <= reply.status < 300
        if gone:
            handler.close_connection = True
            return
        if reply.endless or reply.endless_headers:
            self._ramble(handler, reply)
            return
        handler.send_response(reply.status)
        for name, value in {"Content-Length": "0", **reply.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()

    def _ramble(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        handler.close_connection = True
        handler.wfile.write(f"HTTP/1.1 {reply.status} OK\r\n".encode())
        if not reply.endless_headers:
            handler.wfile.write(b"Content-Type: text/plain\r\n\r\n")
        try:
            while self._server is not None and not self.release.is_set():
                self.written_bytes += handler.wfile.write(
                    b"X-More: " + _CHUNK + b"\r\n" if reply.endless_headers else _CHUNK
                )
        except OSError:
            pass


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    request_queue_size = 64
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """The other side hanging up is what tests are about."""
