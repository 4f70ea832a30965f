"""The webhook against a receiver that refuses, stalls, asks to wait, rambles, redirects, dies and returns."""

import base64
from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook

from tests.integration.notify.http_receiver import HttpReceiver, Posted, Reply
from tests.support.notify import hook, notifying, row, write
from worker.notify.delivery import Sender
from worker.notify.senders.log import LogSender
from worker.notify.senders.webhook import LONGEST_REPLY_BYTES, WebhookSender
from worker.notify.signature import sign
from worker.storage.database import Database
from worker.timing import SystemClock

SECRET = "a secret of some length"  # noqa: S105 - of a receiver that lives as long as a test


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as running:
        yield running


def webhook(receiver: HttpReceiver, limit_s: float = 10.0) -> WebhookSender:
    return WebhookSender(hook(receiver.url, SECRET, send_timeout_s=limit_s), SystemClock())


async def test_every_pending_row_is_posted_once_and_marked_after_it(
    database: Database, receiver: HttpReceiver
) -> None:
    keys = await write(database, [row(number) for number in range(200)])
    async with notifying(database, {"webhook": webhook(receiver)}) as running:
        await running.until_status("sent", 200)
    assert running.count("sent") == 200  # drained: a send is counted after its row says so
    assert receiver.accepted == dict.fromkeys(keys, 1)
    stored = await database.notifications.find_one({"_id": keys[0]})
    assert stored is not None
    assert stored["channel"] == "webhook"
    assert stored["attempts"] == 1
    assert stored["sent_at"] >= stored["created_at"]
    assert stored["lease_owner"] is stored["lease_until"] is stored["last_error"] is None


@pytest.mark.parametrize("secret", [SECRET, "whsec_" + base64.b64encode(SECRET.encode()).decode()])
async def test_a_receiver_verifies_by_a_library_of_standard_webhooks(
    database: Database, receiver: HttpReceiver, secret: str
) -> None:
    (key,) = await write(database, [row(1)])
    options = hook(receiver.url, secret, webhook_legacy_headers=False)
    async with notifying(database, {"webhook": WebhookSender(options, SystemClock())}) as running:
        await running.until_status("sent", 1)
    (posted,) = receiver.posted
    verified = Webhook(SECRET.encode()).verify(posted.body, posted.headers)
    assert verified["key"] == key
    headers = {name.lower(): value for name, value in posted.headers.items()}
    assert headers["webhook-id"] == key
    assert not headers.keys() & {"sevenp-signature", "idempotency-key"}


async def test_the_headers_of_before_are_sent_until_a_setting_turns_them_off(
    database: Database, receiver: HttpReceiver
) -> None:
    (key,) = await write(database, [row(1)])
    async with notifying(database, {"webhook": webhook(receiver)}) as running:
        await running.until_status("sent", 1)
    (posted,) = receiver.posted
    headers = {name.lower(): value for name, value in posted.headers.items()}
    assert posted.key == headers["webhook-id"] == key
    seconds = headers["webhook-timestamp"]
    assert headers["sevenp-signature"] == sign(SECRET.encode(), posted.body, int(seconds))


@pytest.mark.long
async def test_a_receiver_that_misbehaves_in_every_way_gets_each_key_with_equal_body(
    database: Database, receiver: HttpReceiver
) -> None:
    def answer(posted: Posted, times: int) -> Reply:
        misdeeds = (
            Reply(503),
            Reply(429, {"Retry-After": "0"}),
            Reply(503, stall=True),
            Reply(hang_up=True),
            Reply(400),
            Reply(302, {"Location": receiver.url + "/elsewhere"}),
            Reply(500),
        )
        return misdeeds[(hash(posted.key) + times) % len(misdeeds)] if times <= 3 else Reply(201)

    receiver.answer = answer
    keys = await write(database, [row(number) for number in range(40)])
    # Longer than any honest answer takes on a busy machine: one that is cut off is sent again, and accepted twice.
    async with notifying(database, {"webhook": webhook(receiver, limit_s=2.0)}) as running:
        await running.until_status("sent", 40)
        receiver.release.set()
        assert running.count("deferred") >= 3 * 40
    assert receiver.accepted == dict.fromkeys(keys, 1)
    assert all(len(bodies) == 1 for bodies in receiver.bodies.values())
    assert {posted.path for posted in receiver.posted} == {"/hook"}


async def test_the_outbox_grows_while_the_receiver_is_down_and_other_channels_go_on(
    database: Database, receiver: HttpReceiver
) -> None:
    receiver.die()
    senders: dict[str, Sender] = {"webhook": webhook(receiver), "log": LogSender(SystemClock())}
    routes = {"completion": "webhook", "welcome": "log"}
    keys = await write(database, [row(number) for number in range(30)])
    async with notifying(database, senders, routes) as running:
        await write(database, [row(number, "welcome") for number in range(30)])
        await running.until(lambda: running.count("sent", "welcome") == 30, "the log has its rows")
        await running.until_unsent(30)
        assert running.count("sent") == 0
        receiver.revive()
        await running.until_status("sent", 60)
        await running.until_unsent(0)
    assert receiver.accepted == dict.fromkeys(keys, 1)


async def test_a_receiver_that_asks_for_time_is_left_alone_for_so_long(
    database: Database, receiver: HttpReceiver
) -> None:
    clock = SystemClock()
    arrivals: list[float] = []

    def answer(_posted: Posted, _times: int) -> Reply:
        arrivals.append(clock.monotonic())
        return Reply(429, {"Retry-After": "2"}) if len(arrivals) == 1 else Reply()

    receiver.answer = answer
    await write(database, [row(1)])
    async with notifying(database, {"webhook": webhook(receiver)}) as running:
        await running.until(lambda: len(arrivals) == 1, "the first attempt")
        await write(database, [row(number) for number in range(2, 12)])
        await running.until_status("sent", 11)
    # The wait begins when the answer was read, a little after the request arrived.
    assert min(arrivals[1:]) - arrivals[0] >= 2.0


async def test_a_row_its_receiver_always_fails_on_does_not_hold_up_the_others(
    database: Database, receiver: HttpReceiver
) -> None:
    poison = row(0)
    receiver.answer = lambda posted, _times: Reply(500 if posted.key == poison["_id"] else 200)
    await write(database, [poison])
    async with notifying(database, {"webhook": webhook(receiver)}) as running:
        await running.until(lambda: receiver.keys[poison["_id"]] >= 3, "three attempts of the poison")
        await write(database, [row(number) for number in range(1, 51)])
        await running.until_status("sent", 50)
        assert running.count("failed") == 0


async def test_content_that_is_refused_again_and_again_ends_as_failed_with_the_reason(
    database: Database, receiver: HttpReceiver
) -> None:
    receiver.answer = lambda _posted, _times: Reply(422)
    await write(database, [row(1)])
    async with notifying(database, {"webhook": webhook(receiver)}, max_refusals=3) as running:
        await running.until_status("failed", 1)
    assert running.count("failed") == 1
    stored = await database.notifications.find_one({})
    assert stored is not None
    assert (stored["last_error"], stored["refusals"], stored["attempts"]) == ("HTTP 422", 3, 3)
    assert len(receiver.posted) == 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(database: Database, receiver: HttpReceiver, status: int) -> None:
    with HttpReceiver() as elsewhere:
        receiver.answer = lambda _posted, times: (
            Reply(status, {"Location": elsewhere.url}) if times < 3 else Reply()
        )
        await write(database, [row(1)])
        async with notifying(database, {"webhook": webhook(receiver)}) as running:
            await running.until_status("sent", 1)
        assert elsewhere.posted == []
    assert len(receiver.posted) == 3


async def test_an_endless_reply_is_cut_off_and_its_status_counts(
    database: Database, receiver: HttpReceiver
) -> None:
    receiver.answer = lambda _posted, _times: Reply(200, endless=True)
    keys = await write(database, [row(number) for number in range(8)])
    async with notifying(database, {"webhook": webhook(receiver)}) as running:
        await running.until_status("sent", 8)
    assert receiver.accepted == dict.fromkeys(keys, 1)
    # Beyond the bound there is only what fits into the sockets' buffers of eight connections.
    assert receiver.written_bytes < 8 * (LONGEST_REPLY_BYTES + 16 * 1024 * 1024)


async def test_endless_headers_are_no_answer(database: Database, receiver: HttpReceiver) -> None:
    receiver.answer = lambda _posted, times: Reply(200, endless_headers=True) if times == 1 else Reply()
    await write(database, [row(1)])
    async with notifying(database, {"webhook": webhook(receiver)}) as running:
        await running.until_status("sent", 1)
    assert len(receiver.posted) == 2


async def test_cookies_of_a_receiver_are_not_sent_back(database: Database, receiver: HttpReceiver) -> None:
    receiver.answer = lambda _posted, _times: Reply(200, {"Set-Cookie": "spy=1; Path=/"})
    await write(database, [row(number) for number in range(3)])
    async with notifying(database, {"webhook": webhook(receiver)}, concurrency=1, in_hand=1) as running:
        await running.until_status("sent", 3)
    assert not any("Cookie" in posted.headers for posted in receiver.posted)
