"""Mail against a server that greylists, refuses, stalls, hangs up, dies and returns."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from tests.integration.notify.mail_receiver import (
    HANG_UP,
    OK,
    STALL,
    MailReceiver,
    authenticator,
    certificate,
)
from tests.support.notify import notifying, row, write
from worker.notify.senders.mail import MailSender, message_id
from worker.notify.senders.mailbox import Mailbox
from worker.settings import NotifySettings
from worker.storage.database import Database, Document

SENDER = Mailbox("learning@example.org", needs_utf8=False)
COURSE = ObjectId("5f1d7f3e9d1c4b0001a0c001")


@pytest.fixture
def receiver() -> Iterator[MailReceiver]:
    with MailReceiver() as running:
        yield running


def mail(receiver: MailReceiver, limit_s: float = 10.0) -> MailSender:
    return MailSender(mailing(receiver.port, send_timeout_s=limit_s))


def mailing(port: int, **changes: Any) -> NotifySettings:
    """The settings of a mail server on this machine."""
    return NotifySettings(smtp_host="127.0.0.1", smtp_port=port, mail_from=SENDER.address, **changes)


def address(number: int) -> str:
    return f"learner{number}@example.org"


def user(number: int, **fields: object) -> Document:
    return {"_id": ObjectId(f"{number:024x}"), "email": address(number), "username": f"u{number}", **fields}


async def test_each_learner_gets_one_mail_that_says_what_happened(
    database: Database, receiver: MailReceiver
) -> None:
    await database.users.insert_many([user(number) for number in range(20)])
    await database.courses.insert_one(_course("Advanced\r\nBcc: everybody@example.org JavaScript"))
    keys = await write(database, [row(number) for number in range(20)])
    async with notifying(database, {"mail": mail(receiver)}) as running:
        await running.until_status("sent", 20)
    assert receiver.accepted == {address(number): 1 for number in range(20)}
    assert {mailed.message_id for mailed in receiver.mailed} == {message_id(key, SENDER) for key in keys}
    first = receiver.mailed[0].mail
    assert first["Subject"] == "You completed “Advanced Bcc: everybody@example.org JavaScript”"
    assert first["Bcc"] is None
    assert "Congratulations: you completed" in first.get_content()


@pytest.mark.slow
async def test_a_server_that_misbehaves_in_every_way_gets_each_mail_in_equal_bytes(
    database: Database, receiver: MailReceiver
) -> None:
    to_recipient = ("450 try later", "250 OK", "550 not here", "250 OK", "250 OK", "421 closing")
    to_data = ("250 OK", STALL, "250 OK", HANG_UP, "452 full", "250 OK")

    def number_of(recipient: str) -> int:
        return int(recipient.removeprefix("learner").partition("@")[0])

    receiver.to_recipient = lambda who, times: to_recipient[number_of(who) % 6] if times <= 2 else OK
    receiver.to_data = lambda who, times: to_data[number_of(who) % 6] if times <= 2 else OK
    await database.users.insert_many([user(number) for number in range(24)])
    await write(database, [row(number) for number in range(24)])
    # Longer than any honest answer takes on a busy machine: one that is cut off is sent again, and accepted twice.
    async with notifying(database, {"mail": mail(receiver, limit_s=3.0)}) as running:
        await running.until_status("sent", 24)
        receiver.release.set()
    assert receiver.accepted == {address(number): 1 for number in range(24)}
    for number in range(24):
        sent = {mailed.content for mailed in receiver.mailed if mailed.recipient == address(number)}
        assert len(sent) == 1


async def test_mails_wait_for_a_server_that_is_down(database: Database, receiver: MailReceiver) -> None:
    receiver.die()
    await database.users.insert_many([user(number) for number in range(10)])
    await write(database, [row(number) for number in range(10)])
    async with notifying(database, {"mail": mail(receiver)}) as running:
        await running.until(lambda: running.count("deferred") >= 5, "some attempts")
        await running.until_unsent(10)
        receiver.revive()
        await running.until_status("sent", 10)
        assert running.count("failed") == 0
    assert receiver.accepted == {address(number): 1 for number in range(10)}


@pytest.mark.parametrize("bad", [None, "", "nobody", "a@b\r\nBcc: c@d", "<a@b>", "a@b, c@d"])
async def test_a_learner_without_a_usable_address_ends_as_failed(
    database: Database, receiver: MailReceiver, bad: str | None
) -> None:
    fields = {} if bad is None else {"email": bad}
    await database.users.insert_one({"_id": ObjectId(f"{1:024x}"), **fields})
    await write(database, [row(1)])
    async with notifying(database, {"mail": mail(receiver)}, max_refusals=2) as running:
        await running.until_status("failed", 1)
    assert receiver.mailed == []


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
async def test_a_password_stays_here_where_no_tls_is_offered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server is on this machine, where a password may travel in the clear: let it seem to be on another.
    monkeypatch.setattr("worker.notify.senders.mail.is_loopback", lambda _host: False)
    options = {"authenticator": authenticator, "auth_required": True, "auth_require_tls": False}
    with MailReceiver(**options) as receiver:
        sender = MailSender(
            mailing(receiver.port, smtp_username="sevenp", smtp_password="hunter2")  # noqa: S106
        )
        await database.users.insert_one(user(1))
        (key,) = await write(database, [row(1)])
        async with notifying(database, {"mail": sender}) as running:
            await running.until(lambda: running.count("deferred") >= 2, "two attempts")
        stored = await database.notifications.find_one({"_id": key})
    assert stored is not None
    assert stored["last_error"] == "the mail server offers no TLS: the password stays here"
    assert receiver.mailed == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_tls_is_used_where_it_is_offered_and_the_login_goes_through_it(
    database: Database, tmp_path: Path
) -> None:
    server, client = certificate(tmp_path)
    with MailReceiver(tls_context=server, authenticator=authenticator, auth_required=True) as receiver:
        options = mailing(receiver.port, smtp_username="sevenp", smtp_password="hunter2")  # noqa: S106
        await database.users.insert_one(user(1))
        await write(database, [row(1)])
        async with notifying(database, {"mail": MailSender(options, client)}) as running:
            await running.until_status("sent", 1)
    (mailed,) = receiver.mailed
    assert mailed.encrypted
    assert mailed.login == "sevenp"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_a_server_with_a_certificate_nobody_vouches_for_gets_nothing(
    database: Database, tmp_path: Path
) -> None:
    server, _ = certificate(tmp_path)
    with MailReceiver(tls_context=server) as receiver:
        await database.users.insert_one(user(1))
        await write(database, [row(1)])
        async with notifying(database, {"mail": mail(receiver)}) as running:
            await running.until(lambda: running.count("deferred") >= 2, "two attempts")
    assert receiver.mailed == []


@pytest.mark.parametrize("piece", [b"220-more\r\n" * 100, b"x" * 4_096])
async def test_a_server_that_never_stops_talking_is_cut_off(database: Database, piece: bytes) -> None:
    written = 0

    async def ramble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        with contextlib.suppress(OSError):
            while True:
                writer.write(piece)
                await writer.drain()
                written += len(piece)

    server = await asyncio.start_server(ramble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await database.users.insert_one(user(1))
    await write(database, [row(1)])
    async with notifying(database, {"mail": MailSender(mailing(port))}) as running:
        await running.until(lambda: running.count("deferred") >= 2, "two attempts")
    server.close()
    # Beyond the bound there is only what fits into the sockets' buffers of a few connections.
    assert 0 < written < 64 * 1024 * 1024


def _course(title: str) -> Document:
    return {
        "_id": COURSE,
        "title": title,
        "instructor_id": ObjectId(),
        "status": "published",
        "created_at": row(1)["created_at"],
    }
