"""The log as a receiver: a few lines, whatever comes."""

from bson import ObjectId
from structlog.testing import capture_logs

from tests.support.clocks import ManualClock
from worker.notify.delivery import Accepted, Message, Recipient
from worker.notify.senders.log import LogSender


async def test_a_thousand_notifications_are_a_few_lines_that_count_them() -> None:
    clock = ManualClock()
    sender = LogSender(clock)
    with capture_logs() as lines:
        for number in range(1_000):
            kind = "welcome" if number % 4 else "completion"
            assert await sender.send(message(kind), Recipient()) == Accepted()
            if number == 499:
                clock.advance(11)
        await sender.close()
        await sender.close()
    said = [line for line in lines if line["log_level"] == "info"]
    assert [line["event"] for line in said] == ["notifications_logged"] * 3
    assert sum(line["notifications"] for line in said) == 1_000
    assert sum(line["kinds"].get("welcome", 0) for line in said) == 750
    assert sum(line["kinds"].get("completion", 0) for line in said) == 250


def message(kind: str) -> Message:
    clock = ManualClock()
    return Message("key", kind, ObjectId("5" * 24), clock.now(), b"{}")
