"""Whom the learner's preferences let through."""

from datetime import UTC, datetime
from typing import Any

import pytest

from worker.notify.preferences import allows
from worker.settings import Channel

EVERY = [channel.value for channel in Channel]
MAIL, PUSH = "email_course_updates", "push_notifications"


def user(**preferences: Any) -> dict[str, Any]:
    return {"email": "a@example.org", "preferences": {"notifications": preferences}}


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
    ("preference", "stopped"), [(MAIL, {"mail"}), (PUSH, {"webhook", "kafka"}), ("email_marketing", set())]
)
def test_each_preference_stops_its_own_channels(preference: str, stopped: set[str]) -> None:
    assert {channel for channel in EVERY if not allows(user(**{preference: False}), channel)} == stopped
    assert all(allows(user(**{preference: True}), channel) for channel in EVERY)


@pytest.mark.parametrize("odd", ["false", 0, 1, "yes", [], {}])
def test_a_preference_that_is_neither_on_nor_off_counts_as_off(odd: object) -> None:
    assert not allows(user(**{MAIL: odd}), "mail")


def test_a_deleted_user_is_not_notified() -> None:
    gone = {**user(**{MAIL: True}), "deleted_at": datetime(2026, 1, 1, tzinfo=UTC)}
    assert [channel for channel in EVERY if allows(gone, channel)] == ["log"]
