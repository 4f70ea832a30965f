"""A mail server (aiosmtpd) that greylists, refuses, stalls, hangs up, dies and returns on the same port."""

import asyncio
import email
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from worker.devstack.servers.process import free_port

STALL = "stall"
HANG_UP = "hang up"
OK = "250 OK"


@dataclass(frozen=True, slots=True)
class Mailed:
    """One mail as it arrived, whatever was answered."""

    recipient: str
    content: bytes
    encrypted: bool
    login: str | None

    @property
    def mail(self) -> EmailMessage:
        return email.message_from_bytes(self.content, policy=default)

    @property
    def message_id(self) -> str:
        return str(self.mail["Message-ID"])


Answer = Callable[[str, int], str]
"""What is answered to the recipient or the data, given how often this was asked for this recipient."""


class MailReceiver:
    """Accepts everything unless `to_recipient` or `to_data` answer otherwise."""

    def __init__(self, **options: Any) -> None:
        self.to_recipient: Answer = lambda _recipient, _times: OK
        self.to_data: Answer = lambda _recipient, _times: OK
        self.mailed: list[Mailed] = []
        self.accepted: Counter[str] = Counter()
        self.release = threading.Event()
        self.port = free_port()
        self._options = options
        self._asked: Counter[tuple[str, str]] = Counter()
        self._controller: Controller | None = None

    def __enter__(self) -> Self:
        self.revive()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.die()

    def revive(self) -> None:
        """Listen (again)."""
        controller = Controller(self, hostname="127.0.0.1", port=self.port, **self._options)
        controller.start()
        self._controller = controller

    def die(self) -> None:
        """Stop listening."""
        controller, self._controller = self._controller, None
        if controller is not None:
            controller.stop()

    async def handle_RCPT(  # noqa: N802 - named by aiosmtpd
        self, server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        answer = await self._answer("recipient", self.to_recipient, server, address)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        recipient = envelope.rcpt_tos[0]
        mailed = Mailed(
            recipient,
            envelope.content,
            encrypted=server.transport.get_extra_info("sslcontext") is not None,
            login=session.auth_data.login.decode() if session.authenticated else None,
        )
        self.mailed.append(mailed)
        answer = await self._answer("data", self.to_data, server, recipient)
        self.accepted[recipient] += answer.startswith("250")
        return answer

    async def _answer(self, what: str, answer: Answer, server: Any, address: str) -> str:
        self._asked[what, address] += 1
        chosen = answer(address, self._asked[what, address])
        if chosen == STALL:
            await asyncio.to_thread(self.release.wait, 30)
            chosen = "451 too late"
        if chosen == HANG_UP:
            server.transport.close()
            chosen = "451 gone"
        return chosen


def authenticator(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
    """Lets one account in."""
    known = isinstance(given, LoginPassword) and (given.login, given.password) == (b"sevenp", b"hunter2")
    return AuthResult(success=known, auth_data=given)


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A fresh certificate for this machine: the server's context, and a client's that trusts it."""
    key, public = folder / "key.pem", folder / "cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(public)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - fixed arguments
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(public, key)
    return server, ssl.create_default_context(cafile=public)
