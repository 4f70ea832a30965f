"""From what somebody wrote to what is in force: what makes no sense is named, and changes nothing."""

from datetime import UTC, datetime
from typing import Any

import pytest

from worker.gate import Switches
from worker.operate.control.controls import Controls, controls_of
from worker.operate.control.targets import Known
from worker.storage.control_documents import ControlDocument, Found
from worker.storage.reading import Unreadable

STREAM = "course_5f1d7f3e9d1c4b0001a0c001_user_5f1d7f3e9d1c4b00010000aa"
KNOWN = Known(frozenset({"t"}), frozenset({"progress", "counts"}))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def found(*documents: tuple[str, Any, float | None]) -> Controls:
    return controls_of(Found([ControlDocument(*each) for each in documents]), KNOWN)


def test_everything_that_can_be_said_becomes_a_switch() -> None:
    said = {"who": "anna@ops", "reason": "index build", "since": NOW, "until": None}
    controls = found(
        ("pause.role.ingest", said, None),
        ("pause.partition.t.3", said, None),
        ("pause.projection.counts", said, None),
        ("pause.kind.welcome", True, None),
        (f"pause.stream.{STREAM}", {}, None),
        ("set.ingest_per_s", {**said, "value": 500}, None),
        ("set.notify_per_s", 2.5, None),
        ("set.log_level", "DEBUG", None),
    )
    assert controls.ignored == []
    assert controls.switches == Switches(
        roles=frozenset({"ingest"}),
        partitions=frozenset({("t", 3)}),
        projections=frozenset({"counts"}),
        kinds=frozenset({"welcome"}),
        streams=frozenset({STREAM}),
        rates={"ingest_per_s": 500.0, "notify_per_s": 2.5},
    )
    assert controls.log_level == "debug"
    assert (controls.pauses[0].said.who, controls.pauses[0].said.since) == ("anna@ops", NOW)


def test_what_is_over_is_not_in_force_and_what_ends_later_is_until_then() -> None:
    ending = {"until": NOW}
    controls = found(
        ("pause.role.ingest", ending, 0.0),
        ("pause.role.counts", ending, 30.0),
        ("set.log_level", {"value": "debug", **ending}, 30.0),
        ("pause.role.retry", {}, None),
    )
    assert controls.switches.roles == {"counts", "retry"}
    assert controls.after(29.0).switches.roles == {"counts", "retry"}
    assert controls.after(30.0).switches.roles == {"retry"}
    assert (controls.after(29.0).log_level, controls.after(31.0).log_level) == ("debug", None)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("pause.role.cook", True, "there is no role 'cook'"),
        ("pause.role.ingest", "yes", "its value is neither true nor a document"),
        ("pause.role.ingest", None, "its value is neither true nor a document"),
        ("pause.role.ingest", {"until": "tomorrow"}, "its `until` is no date"),
        (
            "pause.role.ingest",
            {"value": False},
            "its `value` means nothing here: there is who, reason, since, until",
        ),
        ("pause.role.ingest", {"value": True}, "its `value` means nothing here"),
        ("pause.role.ingest", {"untill": NOW}, "its `untill` means nothing here"),
        (
            "pause.role.ingest",
            {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1},
            "its `a`, its `b`, its `c` and 2 more mean",
        ),
        ("pause.role.ingest", {"who": 5}, "its `who` is no text"),
        ("pause.role.ingest", {"reason": ["x"]}, "its `reason` is no text"),
        ("pause.role.ingest", {"since": "now"}, "its `since` is no date"),
        (
            "set.ingest_per_s",
            {"value": 500, "untill": NOW},
            "its `untill` means nothing here: there is value, who",
        ),
        ("pause.partition.t.x", True, "'x' is no number of a partition"),
        ("pause.stream.x", True, "no stream has the name 'x'"),
        ("set.log_level", "loud", "it must be one of debug, info, warning, error"),
        ("set.ingest_per_s", 0, "it must be a number from 1"),
        ("set.ingest_per_s", True, "it must be a number from 1"),
        ("set.ingest_per_s", float("nan"), "it must be a number from 1"),
        ("set.ingest_per_s", {"reason": "no value"}, "it must be a number from 1"),
        ("set.ingest_per_s", [500], "it must be a number from 1"),
        ("set.speed", 1, "there is no setting 'speed'"),
        ("stop", True, "its key is none of ours"),
    ],
)
def test_what_makes_no_sense_costs_only_itself(name: str, value: Any, reason: str) -> None:
    controls = found((name, value, None), ("pause.role.notify", True, None))
    assert controls.switches == Switches(roles=frozenset({"notify"}))
    [ignored] = controls.ignored
    assert ignored.key == f"worker_control.{name}"
    assert reason in ignored.reason


def test_false_is_no_pause_and_no_mistake() -> None:
    controls = found(("pause.role.ingest", False, None))
    assert (controls.pauses, controls.ignored) == ([], [])


def test_a_document_that_nobody_can_decode_is_named() -> None:
    unreadable = Unreadable("system_settings", "x", "a date outside the years 1 to 9999")
    [ignored] = controls_of(Found((), [unreadable]), KNOWN).ignored
    assert (ignored.key, ignored.reason) == ("x", "a date outside the years 1 to 9999")


def test_fields_may_be_missing_or_null() -> None:
    said = {"who": None, "reason": None, "since": None, "until": None}
    assert found(("pause.role.ingest", said, None)).switches.roles == {"ingest"}


def test_of_thousands_that_make_no_sense_the_first_are_named_and_what_does_is_in_force() -> None:
    odd = [(f"pause.role.cook-{number}", True, None) for number in range(10_000)]
    controls = found(*odd, ("pause.role.notify", True, None))
    assert (len(controls.ignored), controls.ignored_in_all) == (20, 10_000)
    assert controls.after(1.0).ignored_in_all == 10_000
    assert controls.switches.roles == {"notify"}


def test_what_nobody_has_read_is_ignored_and_said() -> None:
    controls = controls_of(Found((), (), unread=7), KNOWN)
    assert controls.ignored_in_all == 7
    assert "7 documents of ours are not read" in controls.ignored[0].reason
