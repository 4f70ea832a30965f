"""The mail itself, and what a server's codes mean."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from unicodedata import category

import aiosmtplib
import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from worker.notify.delivery import Delivery, Message, Refused, Unavailable
from worker.notify.senders.mail import compose, delivery_of, message_id
from worker.notify.senders.mailbox import Mailbox, mailbox

FROM = Mailbox("learning@example.org", needs_utf8=False)
ADA = Mailbox("ada@example.org", needs_utf8=False)
MESSAGE = Message(
    key="welcome:course_a_user_b",
    kind="welcome",
    user_id=ObjectId(),
    created_at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
    body=b"{}",
)


def test_the_same_notification_is_the_same_mail() -> None:
    mails = [compose(MESSAGE, ADA, "Analytical engines", FROM).as_bytes() for _ in range(2)]
    assert mails[0] == mails[1]


def test_it_says_what_happened_in_which_course_and_that_a_machine_wrote_it() -> None:
    mail = compose(MESSAGE, ADA, "Größe &🚀", FROM)
    assert mail["Subject"] == "Welcome to “Größe &🚀”"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"] == "Sun, 01 Mar 2026 12:00:00 +0000"
    assert mail["Message-ID"] == message_id(MESSAGE.key, FROM)


def test_a_course_without_a_title_is_simply_theirs() -> None:
    assert compose(MESSAGE, ADA, None, FROM)["Subject"] == "Welcome to your course"


@pytest.mark.parametrize(
    "title", ["A\r\nBcc: all@example.org", "A\nX: y", "A\r\n\r\nbody", "{course}", "%s", "x" * 9_999]
)
def test_no_title_breaks_out_of_its_place(title: str) -> None:
    mail = compose(MESSAGE, ADA, title, FROM)
    assert set(mail.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted",
        "Content-Type", "Content-Transfer-Encoding", "MIME-Version",
    }  # fmt: skip
    assert len(mail["Subject"]) < 200


ZOE = Mailbox("zoë@example.org", needs_utf8=True)
ENCODED = st.text("AB =?_:.@", max_size=20).map(lambda text: f"=?utf-8?q?A=0D=0ABcc=3A_{text}?=")


@given(
    title=st.one_of(ENCODED, st.text(st.characters(exclude_categories=["Cs"]))),
    learner=st.sampled_from([ADA, ZOE]),
)
def test_no_title_is_taken_for_an_encoded_header(title: str, learner: Mailbox) -> None:
    sent = compose(MESSAGE, learner, title, FROM).as_bytes()
    head = sent.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] not in b" \t"]
    assert names == [
        b"From", b"To", b"Subject", b"Date", b"Message-ID", b"Auto-Submitted",
        b"Content-Type", b"Content-Transfer-Encoding", b"MIME-Version",
    ]  # fmt: skip
    assert not any(byte < 32 for byte in head.replace(b"\r\n", b""))
    read = make_header(decode_header(message_from_bytes(sent)["Subject"]))
    shown = " ".join("".join(" " if category(mark) == "Cc" else mark for mark in title).split())[:150]
    assert str(read) == "Welcome to " + (f"“{shown}”" if shown else "your course")


def test_a_message_id_tells_keys_apart_and_does_not_show_them() -> None:
    ids = {message_id(f"welcome:course_a_user_{number}", FROM) for number in range(100)}
    assert len(ids) == 100
    assert all(each.endswith("@example.org>") and "user_" not in each for each in ids)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (aiosmtplib.SMTPRecipientsRefused([aiosmtplib.SMTPRecipientRefused(550, "no", "a")]), Refused),
        (
            aiosmtplib.SMTPRecipientsRefused([aiosmtplib.SMTPRecipientRefused(450, "greylisted", "a")]),
            Unavailable,
        ),
        (aiosmtplib.SMTPDataError(554, "spam"), Refused),
        (aiosmtplib.SMTPDataError(452, "full"), Unavailable),
        (aiosmtplib.SMTPNotSupported("SMTPUTF8"), Refused),
        (aiosmtplib.SMTPSenderRefused(550, "not you", "us"), Unavailable),
        (aiosmtplib.SMTPAuthenticationError(535, "wrong"), Unavailable),
        (aiosmtplib.SMTPConnectError("refused"), Unavailable),
        (aiosmtplib.SMTPReadTimeoutError("slow"), Unavailable),
        (OSError("unreachable"), Unavailable),
    ],
)
def test_only_answers_about_this_recipient_or_text_count_against_the_row(
    error: Exception, meaning: type[Delivery]
) -> None:
    delivery = delivery_of(error)
    assert type(delivery) is meaning
    assert "greylisted" not in getattr(delivery, "reason", "")


@pytest.mark.parametrize(
    ("text", "address", "needs_utf8"),
    [
        ("ada@example.org", "ada@example.org", False),
        ("Ada.Lovelace+7p@Example.ORG", "Ada.Lovelace+7p@example.org", False),
        ("ada@b\u00fccher.example", "ada@xn--bcher-kva.example", False),
        ("ad\u00e4@b\u00fccher.example", "ad\u00e4@xn--bcher-kva.example", True),
        ("=?utf-8?q?ada?=@example.org", "=?utf-8?q?ada?=@example.org", False),
    ],
)
def test_an_address_goes_out_as_it_stands_with_its_domain_in_ascii(
    text: str, address: str, needs_utf8: bool
) -> None:
    box = mailbox(text)
    assert box == Mailbox(address, needs_utf8)
    (line,) = [
        line for line in compose(MESSAGE, box, None, FROM).as_bytes().splitlines() if line[:3] == b"To:"
    ]
    assert line == f"To: {address}".encode()


@pytest.mark.parametrize(
    "text",
    [
        None, "", "ada", "a@=?utf-8?q?x.example=0D=0ABcc=3A?=", "ada@example.org.", "a b@x.example",
        "ada@example.org\n", "Ada <ada@example.org>", "a@x.example,b@x.example",
        '"a b"@x.example', "ada@[127.0.0.1]", "a@b@c.example",
        "ada@localhost", "ada@-x.example", "a..b@x.example", "a" * 65 + "@x.example", "ada@" + "x" * 300 + ".example",
        "ada\x00@x.example", "\ud800@x.example", "ada@x.example\r\nBcc: all@example.org",
    ],
)  # fmt: skip
def test_what_is_not_one_plain_address_is_none(text: str | None) -> None:
    assert mailbox(text) is None


@given(st.text(max_size=40), st.text(alphabet="=?utf-8qb_.@\r\n<>,\u00e4 ax", max_size=40))
def test_no_address_adds_a_header_or_a_recipient(local: str, domain: str) -> None:
    box = mailbox(f"{local}@{domain}")
    if box is not None:
        mail = compose(MESSAGE, box, None, FROM).as_bytes()
        head = mail.partition(b"\r\n\r\n")[0].decode()
        plain = compose(MESSAGE, ADA, None, FROM).as_bytes().partition(b"\r\n\r\n")[0].decode()
        assert head.replace(f"To: {box.address}", "To: ada@example.org") == plain
