"""What a status and its headers mean, and what a request looks like to its receiver."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.notify import hook
from worker.errors import Misconfigured
from worker.notify.delivery import Accepted, Refused, Unavailable
from worker.notify.senders.webhook import WebhookSender, delivery_of, retry_after_s
from worker.notify.signature import sign
from worker.timing import SystemClock

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_is_accepted(status: int) -> None:
    assert delivery_of(status, "60", NOW) == Accepted()


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
def test_answers_about_the_content_refuse_this_message(status: int) -> None:
    assert delivery_of(status, None, NOW) == Refused(f"HTTP {status}")


@pytest.mark.parametrize("status", [401, 403, 404, 408, 410, 425, 500, 502, 504, 599])
def test_all_others_say_later(status: int) -> None:
    assert delivery_of(status, "60", NOW) == Unavailable(f"HTTP {status}")


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_redirects_say_later_too(status: int) -> None:
    assert delivery_of(status, None, NOW) == Unavailable(f"HTTP {status}: redirects are not followed")


@pytest.mark.parametrize("status", [429, 503])
def test_a_request_for_time_is_heard(status: int) -> None:
    assert delivery_of(status, "60", NOW) == Unavailable(f"HTTP {status}", 60.0)
    assert delivery_of(status, None, NOW) == Unavailable(f"HTTP {status}")


def test_a_date_is_counted_from_now_and_never_backwards() -> None:
    assert retry_after_s(format_datetime(NOW + timedelta(seconds=90), usegmt=True), NOW) == 90
    assert retry_after_s(format_datetime(NOW - timedelta(days=1), usegmt=True), NOW) == 0


@given(st.text())
def test_nothing_a_receiver_writes_there_breaks_us(value: str) -> None:
    asked_s = retry_after_s(value, NOW)
    assert asked_s is None or asked_s >= 0


@pytest.mark.parametrize("value", ["", "-5", "1.5", "soon", "٣", "Mon, 99 Foo 2026 99:99:99 GMT"])
def test_what_is_neither_seconds_nor_a_date_is_ignored(value: str) -> None:
    assert retry_after_s(value, NOW) is None


def test_a_url_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(Misconfigured) as refused:
        WebhookSender(hook("https://host:token-as-port/", "secret"), SystemClock())
    assert "token" not in str(refused.value)


def test_a_signature_changes_with_secret_body_and_time() -> None:
    signatures = {
        sign(secret, body, at) for secret in (b"one", b"two") for body in (b"a", b"b") for at in (1, 2)
    }
    assert len(signatures) == 8
