"""Mail by SMTP: a short text per notification, whose Message-ID is made from the key, so that repeats are known.

A connection per mail: notifications are few, and a connection that is never kept is never stale.
"""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.policy import SMTPUTF8 as SMTPUTF8_POLICY
from unicodedata import category

import aiosmtplib
from aiosmtplib import SMTP

from worker.errors import Misconfigured
from worker.notify.delivery import Accepted, Delivery, Message, Recipient, Refused, Unavailable
from worker.notify.senders.mailbox import AddressHeader, Mailbox, mailbox
from worker.notify.senders.subject import SubjectHeader
from worker.settings import NotifySettings
from worker.settings.hosts import is_loopback

_NO_ADDRESS = "the learner's user document has no usable address"
# A title longer than this would only be cut by whoever shows it.
_LONGEST_TITLE = 150
_PERMANENT = 500
_FAREWELL_S = 1.0

_TEXTS: Mapping[str, tuple[str, str]] = {
    "welcome": ("Welcome to {course}", "You are enrolled in {course}. Enjoy learning!"),
    "completion": ("You completed {course}", "Congratulations: you completed {course}."),
}
_OTHER_TEXT = ("News about {course}", "There is news about {course}.")


class MailSender:
    """Accepted once the server has taken responsibility: its answer to the end of the data.

    A password is only ever sent over TLS, or to this very machine.
    """

    def __init__(self, settings: NotifySettings, tls_context: ssl.SSLContext | None = None) -> None:
        host, sender = settings.smtp_host, mailbox(settings.mail_from)
        if host is None or sender is None:
            raise Misconfigured(
                f"{settings.variable('smtp_host')} and {settings.variable('mail_from')} are needed"
            )
        self._settings, self._host, self._sender = settings, host, sender
        self._tls_context = tls_context or ssl.create_default_context()

    async def send(self, message: Message, recipient: Recipient) -> Delivery:
        """One mail to the learner's address; never raises for what the server or the network does."""
        learner = mailbox(recipient.email)
        if learner is None:
            return Refused(_NO_ADDRESS)
        client = self._client()
        try:
            async with asyncio.timeout(self._settings.send_timeout_s):
                return await self._conversation(client, message, learner, recipient.course_title)
        except TimeoutError:
            return Unavailable("no answer in time")
        except (aiosmtplib.SMTPException, OSError) as error:
            return delivery_of(error)
        finally:
            await _leave(client)

    async def close(self) -> None:
        """Nothing to give back: no connection is kept."""

    def _client(self) -> SMTP:
        settings = self._settings
        return SMTP(
            hostname=self._host,
            port=settings.smtp_port,
            local_hostname=socket.gethostname(),  # the default asks the name service
            timeout=settings.send_timeout_s,
            use_tls=settings.smtp_tls == "implicit",
            start_tls={"auto": None, "required": True, "implicit": False}[settings.smtp_tls],
            tls_context=self._tls_context,
        )

    async def _conversation(
        self, client: SMTP, message: Message, learner: Mailbox, title: str | None
    ) -> Delivery:
        await client.connect()
        settings = self._settings
        if settings.smtp_username is not None:
            if client.get_transport_info("sslcontext") is None and not is_loopback(self._host):
                return Unavailable("the mail server offers no TLS: the password stays here")
            password = settings.smtp_password
            await client.login(settings.smtp_username, password.get_secret_value() if password else "")
        # Not `send_message`, which reads the addresses out of the headers again.
        await client.sendmail(
            self._sender.address,
            [learner.address],
            compose(message, learner, title, self._sender).as_bytes(),
            mail_options=["SMTPUTF8"] if learner.needs_utf8 or self._sender.needs_utf8 else [],
        )
        return Accepted()


async def _leave(client: SMTP) -> None:
    """A polite end where the server takes part in it; what was accepted before stays so."""
    with suppress(aiosmtplib.SMTPException, OSError):
        if client.is_connected:
            await client.quit(timeout=_FAREWELL_S)
    client.close()


def compose(message: Message, learner: Mailbox, title: str | None, sender: Mailbox) -> EmailMessage:
    """The mail: the same bytes for the same message, address and course title."""
    subject, text = _TEXTS.get(message.kind, _OTHER_TEXT)
    # A title is the course author's: line breaks in it would be headers of their making, NUL ends some readers.
    visible = "".join(" " if category(letter) == "Cc" else letter for letter in title or "")
    title = " ".join(visible.split())[:_LONGEST_TITLE]
    course = f"\u201c{title}\u201d" if title else "your course"
    utf8 = learner.needs_utf8 or sender.needs_utf8
    # In seven bits any server takes it; a header in UTF-8 needs one that has said that it can.
    mail = EmailMessage(policy=(SMTPUTF8_POLICY if utf8 else SMTP_POLICY).clone(cte_type="7bit"))
    mail["From"] = AddressHeader("From", sender)
    mail["To"] = AddressHeader("To", learner)
    mail["Subject"] = SubjectHeader(subject.format(course=course))
    mail["Date"] = message.created_at
    mail["Message-ID"] = message_id(message.key, sender)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text.format(course=course) + "\n")
    return mail


def message_id(key: str, sender: Mailbox) -> str:
    """One per key, and readable by nobody: the key names the learner and the course."""
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:40]}@{sender.domain}>"


def delivery_of(error: Exception) -> Delivery:
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
            return Unavailable(f"SMTP {error.code} ({type(error).__name__})")
        case _:
            return Unavailable(f"no answer ({type(error).__name__})")


def _by_code(what: str, code: int) -> Delivery:
    reason = f"SMTP {code} for the {what}"
    return Refused(reason) if code >= _PERMANENT else Unavailable(reason)
