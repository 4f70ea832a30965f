"""docs/notifications.md says what the code does: its example verifies our signatures, its body is ours."""

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from worker.contract.identity import stream_id
from worker.notify.message import message_of
from worker.notify.preferences import PREFERENCES
from worker.notify.signature import HEADER, sign
from worker.settings import Channel, NotificationKind
from worker.storage.outbox import notification_row

DOCUMENT = (Path(__file__).parents[3] / "docs" / "notifications.md").read_text(encoding="utf-8")
SECRET, BODY = b"a secret of some length", b'{"key":"welcome:x"}'


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    return str(found)


@pytest.fixture
def is_genuine() -> Any:
    """The function as the document has it."""
    names: dict[str, Any] = {}
    exec(block("python"), names)  # noqa: S102 - our own document
    return names["is_genuine"]


def test_the_documented_verification_accepts_what_we_sign(is_genuine: Any) -> None:
    assert is_genuine(SECRET, sign(SECRET, BODY, int(time.time())), BODY)
    assert is_genuine(SECRET, sign(SECRET, BODY, int(time.time())) + ",v2=later", BODY)


@pytest.mark.parametrize("header", ["", "t=,v1=", "v1=abc", "t=x,v1=y", "t=1", ",,,", "t=\u0661,v1=é"])
def test_it_refuses_a_header_that_is_none(is_genuine: Any, header: str) -> None:
    assert not is_genuine(SECRET, header, BODY)


def test_it_refuses_another_secret_another_body_and_another_time(is_genuine: Any) -> None:
    now = int(time.time())
    header = sign(SECRET, BODY, now)
    assert not is_genuine(b"another secret of ours", header, BODY)
    assert not is_genuine(SECRET, header, BODY + b" ")
    assert not is_genuine(SECRET, header.replace(f"t={now}", f"t={now + 1}"), BODY)
    assert not is_genuine(SECRET, sign(SECRET, BODY, now - 3_600), BODY)


def test_the_documented_body_is_the_one_that_is_sent() -> None:
    documented = block("json").strip()
    fields = json.loads(documented)
    user, course = ObjectId(fields["user_id"]), ObjectId(fields["course_id"])
    data = {"percentage": 100.0, "reached_at": datetime(2026, 3, 1, 11, 59, 58, tzinfo=UTC)}
    made = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)
    row = notification_row(
        "completion", stream_id(course, user), user, course, by="live", data=data, now=made
    )
    assert message_of(row).body.decode() == documented


@pytest.mark.parametrize("name", [*Channel, *NotificationKind, *PREFERENCES.values(), HEADER])
def test_every_name_is_explained(name: str) -> None:
    assert f"`{name}" in DOCUMENT
