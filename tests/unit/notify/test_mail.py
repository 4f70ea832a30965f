"""The mail itself, and what a server's codes mean."""

from datetime import UTC, datetime

import aiosmtplib
import pytest
from bson import ObjectId

from worker.notify.delivery import Away, Delivery, Message, Recipient, Refused
from worker.notify.senders.mail import compose, judge, message_id

FROM = "learning@example.org"
MESSAGE = Message(
    key="welcome:course_a_user_b",
    kind="welcome",
    user_id=ObjectId(),
    course_id=ObjectId(),
    created_at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
    body=b"{}",
)


def test_the_same_notification_is_the_same_mail() -> None:
    recipient = Recipient("ada@example.org", "Analytical engines")
    assert compose(MESSAGE, recipient, FROM).as_bytes() == compose(MESSAGE, recipient, FROM).as_bytes()


def test_it_says_what_happened_in_which_course_and_that_a_machine_wrote_it() -> None:
    mail = compose(MESSAGE, Recipient("ada@example.org", "Größe &🚀"), FROM)
    assert mail["Subject"] == "Welcome to “Größe &🚀”"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"] == "Sun, 01 Mar 2026 12:00:00 +0000"
    assert mail["Message-ID"] == message_id(MESSAGE.key, FROM)


def test_a_course_without_a_title_is_simply_theirs() -> None:
    assert compose(MESSAGE, Recipient("ada@example.org"), FROM)["Subject"] == "Welcome to your course"


@pytest.mark.parametrize(
    "title", ["A\r\nBcc: all@example.org", "A\nX: y", "A\r\n\r\nbody", "{course}", "%s", "x" * 9_999]
)
def test_no_title_breaks_out_of_its_place(title: str) -> None:
    mail = compose(MESSAGE, Recipient("ada@example.org", title), FROM)
    assert set(mail.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted",
        "Content-Type", "Content-Transfer-Encoding", "MIME-Version",
    }  # fmt: skip
    assert len(mail["Subject"]) < 200


def test_a_message_id_tells_keys_apart_and_does_not_show_them() -> None:
    ids = {message_id(f"welcome:course_a_user_{number}", FROM) for number in range(100)}
    assert len(ids) == 100
    assert all(each.endswith("@example.org>") and "user_" not in each for each in ids)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (aiosmtplib.SMTPRecipientsRefused([aiosmtplib.SMTPRecipientRefused(550, "no", "a")]), Refused),
        (aiosmtplib.SMTPRecipientsRefused([aiosmtplib.SMTPRecipientRefused(450, "greylisted", "a")]), Away),
        (aiosmtplib.SMTPDataError(554, "spam"), Refused),
        (aiosmtplib.SMTPDataError(452, "full"), Away),
        (aiosmtplib.SMTPNotSupported("SMTPUTF8"), Refused),
        (aiosmtplib.SMTPSenderRefused(550, "not you", "us"), Away),
        (aiosmtplib.SMTPAuthenticationError(535, "wrong"), Away),
        (aiosmtplib.SMTPConnectError("refused"), Away),
        (aiosmtplib.SMTPReadTimeoutError("slow"), Away),
        (OSError("unreachable"), Away),
    ],
)
def test_only_answers_about_this_recipient_or_text_count_against_the_row(
    error: Exception, meaning: type[Delivery]
) -> None:
    delivery = judge(error)
    assert type(delivery) is meaning
    assert "greylisted" not in getattr(delivery, "reason", "")
