"""Mail by SMTP: a short text per notification, whose Message-ID is made from the key, so that repeats are known.

A connection per mail: notifications are few, and a connection that is never kept is never stale.
"""

import asyncio
import hashlib
import re
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from ipaddress import ip_address
from types import MappingProxyType
from typing import Literal

import aiosmtplib
from aiosmtplib import SMTP

from worker.notify.delivery import Accepted, Away, Delivery, Message, Recipient, Refused

_ADDRESS = re.compile(r"[^\s@<>()\[\]\\,;:\"\x00-\x1f\x7f]{1,64}@[^\s@<>()\[\]\\,;:\"\x00-\x1f\x7f]{1,255}")
_NO_ADDRESS = "the learner's user document has no usable address"
# A title longer than this would only be cut by whoever shows it.
_LONGEST_TITLE = 150
_PERMANENT = 500
_FAREWELL_S = 1.0

_TEXTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "welcome": ("Welcome to {course}", "You are enrolled in {course}. Enjoy learning!"),
        "completion": ("You completed {course}", "Congratulations: you completed {course}."),
    }
)
_OTHER_TEXT = ("News about {course}", "There is news about {course}.")


@dataclass(frozen=True, slots=True)
class MailOptions:
    """`tls`: `auto` upgrades where the server offers it, `required` always, `implicit` speaks TLS at once.

    A password is only ever sent over TLS, or to this very machine.
    """

    host: str
    port: int
    sender: str
    tls: Literal["auto", "required", "implicit"] = "auto"
    username: str | None = None
    password: str | None = None
    limit_s: float = 10.0


class MailSender:
    """Accepted once the server has taken responsibility: its answer to the end of the data."""

    def __init__(self, options: MailOptions, tls_context: ssl.SSLContext | None = None) -> None:
        self._options = options
        self._tls_context = tls_context or ssl.create_default_context()

    async def send(self, message: Message, recipient: Recipient) -> Delivery:
        """One mail to the learner's address; never raises for what the server or the network does."""
        if recipient.email is None or not _ADDRESS.fullmatch(recipient.email):
            return Refused(_NO_ADDRESS)
        client = self._client()
        try:
            async with asyncio.timeout(self._options.limit_s):
                return await self._conversation(client, compose(message, recipient, self._options.sender))
        except TimeoutError:
            return Away("no answer in time")
        except (aiosmtplib.SMTPException, OSError) as error:
            return judge(error)
        finally:
            await _leave(client)

    async def close(self) -> None:
        """Nothing to give back: no connection is kept."""

    def _client(self) -> SMTP:
        options = self._options
        return SMTP(
            hostname=options.host,
            port=options.port,
            local_hostname=socket.gethostname(),  # the default asks the name service
            timeout=options.limit_s,
            use_tls=options.tls == "implicit",
            start_tls={"auto": None, "required": True, "implicit": False}[options.tls],
            tls_context=self._tls_context,
        )

    async def _conversation(self, client: SMTP, mail: EmailMessage) -> Delivery:
        await client.connect()
        options = self._options
        if options.username is not None:
            if client.get_transport_info("sslcontext") is None and not _is_this_machine(options.host):
                return Away("the mail server offers no TLS: the password stays here")
            await client.login(options.username, options.password or "")
        await client.send_message(mail, sender=options.sender, recipients=[str(mail["To"])])
        return Accepted()


async def _leave(client: SMTP) -> None:
    """A polite end where the server takes part in it; what was accepted before stays so."""
    with suppress(aiosmtplib.SMTPException, OSError):
        if client.is_connected:
            await client.quit(timeout=_FAREWELL_S)
    client.close()


def compose(message: Message, recipient: Recipient, sender: str) -> EmailMessage:
    """The mail: the same bytes for the same message, address and course title. `recipient` has an address."""
    subject, text = _TEXTS.get(message.kind, _OTHER_TEXT)
    # A title is the course author's: line breaks in it would be headers of their making.
    title = " ".join((recipient.course_title or "").split())[:_LONGEST_TITLE]
    course = f"\u201c{title}\u201d" if title else "your course"
    mail = EmailMessage(policy=SMTP_POLICY)
    mail["From"] = sender
    mail["To"] = recipient.email
    mail["Subject"] = subject.format(course=course)
    mail["Date"] = message.created_at
    mail["Message-ID"] = message_id(message.key, sender)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text.format(course=course) + "\n")
    return mail


def message_id(key: str, sender: str) -> str:
    """One per key, and readable by nobody: the key names the learner and the course."""
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:40]}@{sender.rpartition('@')[2]}>"


def judge(error: Exception) -> Delivery:
    """A permanent refusal of this recipient or text, or a server that is away; codes only, no words of its own."""
    match error:
        case aiosmtplib.SMTPRecipientsRefused():
            code = max((refused.code for refused in error.recipients), default=0)
            return _by_code("recipient", code)
        case aiosmtplib.SMTPRecipientRefused() | aiosmtplib.SMTPDataError():
            return _by_code("data", error.code)
        case aiosmtplib.SMTPNotSupported():
            return Refused("the mail server lacks an extension this address needs")
        case aiosmtplib.SMTPResponseException():
            return Away(f"SMTP {error.code} ({type(error).__name__})")
        case _:
            return Away(f"no answer ({type(error).__name__})")


def _by_code(what: str, code: int) -> Delivery:
    reason = f"SMTP {code} for the {what}"
    return Refused(reason) if code >= _PERMANENT else Away(reason)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
