"""Whom the learner's switches let through."""

from datetime import UTC, datetime
from typing import Any

import pytest

from worker.notify.switches import allows
from worker.settings import Channel

EVERY = [channel.value for channel in Channel]
MAIL, PUSH = "email_course_updates", "push_notifications"


def user(**switches: Any) -> dict[str, Any]:
    return {"email": "a@example.org", "preferences": {"notifications": switches}}


@pytest.mark.parametrize("channel", EVERY)
@pytest.mark.parametrize(
    "who",
    [
        None,
        {},
        {"preferences": None},
        {"preferences": {"notifications": []}},
        user(),
        user(**{MAIL: None, PUSH: None}),
    ],
)
def test_who_says_nothing_is_notified(channel: str, who: dict[str, Any] | None) -> None:
    assert allows(who, channel)


@pytest.mark.parametrize(
    ("switch", "stopped"), [(MAIL, {"mail"}), (PUSH, {"webhook", "kafka"}), ("email_marketing", set())]
)
def test_each_switch_stops_its_own_channels(switch: str, stopped: set[str]) -> None:
    assert {channel for channel in EVERY if not allows(user(**{switch: False}), channel)} == stopped
    assert all(allows(user(**{switch: True}), channel) for channel in EVERY)


@pytest.mark.parametrize("odd", ["false", 0, 1, "yes", [], {}])
def test_a_switch_that_is_neither_on_nor_off_counts_as_off(odd: object) -> None:
    assert not allows(user(**{MAIL: odd}), "mail")


def test_a_deleted_user_is_not_notified() -> None:
    gone = {**user(**{MAIL: True}), "deleted_at": datetime(2026, 1, 1, tzinfo=UTC)}
    assert [channel for channel in EVERY if allows(gone, channel)] == ["log"]
