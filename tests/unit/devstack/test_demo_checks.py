"""The demo says no for each single thing that is not as it should be."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console

from projections.counts import Counted, course_stats, user_stats
from worker.devstack.demo.arrival import Published, Rates, Sample, make_display
from worker.devstack.demo.course_timeline import course_timeline, print_counts, print_course_timeline
from worker.devstack.demo.documents_check import COLLECTIONS, count_by_collection
from worker.devstack.demo.kept import print_urls
from worker.devstack.demo.names import OWN_NAMES
from worker.devstack.demo.options import DemoOptions
from worker.devstack.demo.platform_findings import STAMPS, PlatformFindings
from worker.devstack.demo.progress_check import Difference, compare
from worker.devstack.demo.stored import Example, Totals
from worker.devstack.demo.summary import Summary
from worker.devstack.demo.tables import print_course, print_learner, print_totals
from worker.devstack.servers.stack import Stack
from worker.devstack.servers.worker_process import WorkerCounts
from worker.devstack.simulator.ledger import LedgerEntry
from worker.devstack.simulator.simulation import simulate
from worker.verify.findings import ProjectionCounts, Verification

ENTRY = LedgerEntry("a" * 24, "b" * 24, 6_667, 2, 61_500, 8_050, dropped=False)
STREAM = (ENTRY.user_id, ENTRY.course_id)
DOCUMENT: dict[str, Any] = {
    "user_id": ENTRY.user_id,
    "course_id": ENTRY.course_id,
    "status": "active",
    "version": 9,
    "progress": {"percentage": 66.67, "completed_lessons": 2, "total_lessons": 3},
    "time_tracking": {"total_seconds": 61.5, "session_count": 1, "last_activity": None},
    "performance": {"quiz_average": 80.5},
    "social": {"discussion_posts": 1, "questions_asked": 0},
    "completion_notified": False,
    "lesson_progress": [
        {"status": "not_started"},
        {
            "status": "completed",
            "progress_percentage": 100.0,
            "time_spent": 60.0,
            "quiz_results": {"score": 80.5},
        },
    ],
}
EXAMPLE = Example(DOCUMENT, None, None, [], [DOCUMENT])
SIMULATION = simulate(seed=1, records=1_000)  # 979 events, 20 duplicates, 1 conflict
EMPTY = Totals(0, 0, {}, 0, 0)
FULL = Totals(979, 979, {"view": 979}, 20, 100)
COUNTS = WorkerCounts({"stored": 979, "duplicate": 20, "conflict": 1, "redelivered": 0}, 0, {0: 0})
WRONG = Difference("courses c", "title", "one", "another")
VERIFIED = Verification({"events": 979, "streams": 20}, {}, {"conflict": 1}, {}, {}, ())
BEHIND = ProjectionCounts(documents=20, behind=20)
PUBLISHED = SIMULATION.platform
OUTCOMES = Counter(record.outcome for record in PUBLISHED.records)
UNIQUE, DUPLICATES = OUTCOMES["ok"], OUTCOMES["duplicate"]
REFUSED = {name: count for name, count in OUTCOMES.items() if name not in ("ok", "duplicate")}
DOCUMENTS = count_by_collection(PUBLISHED.documents)
PLATFORM = PlatformFindings(
    PUBLISHED.records, 0, UNIQUE, DUPLICATES, REFUSED, DOCUMENTS, DOCUMENTS, differences={}
)
GOOD = Summary(
    published=1_000,
    unreadable=0,
    before=EMPTY,
    after=FULL,
    counts=COUNTS,
    dead_letter_reasons={"conflict": 1},
    verification=VERIFIED,
    differences=(),
    simulation=SIMULATION,
    known=0,
    seconds=0.5,
    platform=PLATFORM,
)


def outcomes(**changed: int) -> WorkerCounts:
    return replace(COUNTS, outcomes={**COUNTS.outcomes, **changed})


def test_a_run_in_which_everything_agrees_is_verified() -> None:
    assert GOOD.verified
    assert GOOD.to_json()["events_per_second"] == 2_000.0


def test_the_outbox_is_told_as_the_number_of_its_rows() -> None:
    sent = replace(FULL, notifications={("welcome", "sent"): 20, ("completion", "pending"): 3})
    assert replace(GOOD, after=sent).to_json()["notifications"] == 23


def test_what_nobody_counts_needs_no_counting() -> None:
    assert replace(GOOD, verification=replace(VERIFIED, by_projection={"counts": BEHIND})).verified


def test_the_same_run_a_second_time_is_verified_too() -> None:
    again = replace(GOOD, before=FULL, known=979, counts=outcomes(stored=0, duplicate=999))
    platform = replace(PLATFORM, known=UNIQUE, duplicates=UNIQUE + DUPLICATES)
    assert replace(again, platform=platform).verified


def test_every_collection_of_the_platform_is_a_check_of_its_own() -> None:
    without = replace(GOOD, platform=None)
    assert len(GOOD.checks()) == len(without.checks()) + len(COLLECTIONS) + 2
    assert set(DOCUMENTS) == set(COLLECTIONS)


def test_a_redelivery_after_a_rebalance_is_no_disagreement() -> None:
    assert replace(GOOD, counts=outcomes(redelivered=7)).verified


@pytest.mark.parametrize(
    "changed",
    [
        {"unreadable": 1},
        {"published": 1_001},
        {"counts": outcomes(stored=978)},
        {"counts": outcomes(duplicate=21)},
        {"counts": replace(COUNTS, dropped=1)},
        {"after": replace(FULL, stored=978)},
        {"after": replace(FULL, time_series=980)},
        {"dead_letter_reasons": {}},
        {"verification": replace(VERIFIED, by_projection={"progress": BEHIND})},
        {"verification": replace(VERIFIED, finding_counts={"row_missing": 1})},
        {"counting": True, "verification": replace(VERIFIED, by_projection={"counts": BEHIND})},
        {"counting": True, "statistics": (Difference("course c", "total", 1, None),)},
        {"differences": (Difference("learner a", "percentage", 1, 2),)},
        {"known": 1},
        {"platform": replace(PLATFORM, stored=UNIQUE - 1)},
        {"platform": replace(PLATFORM, duplicates=DUPLICATES + 1)},
        {"platform": replace(PLATFORM, dead_letters={})},
        *({"platform": replace(PLATFORM, differences={name: [WRONG]})} for name in (*COLLECTIONS, STAMPS)),
    ],
    ids=lambda changed: str(changed)[:100],
)
def test_one_thing_that_is_wrong_is_enough(changed: Mapping[str, Any]) -> None:
    assert not replace(GOOD, **changed).verified


def test_a_document_that_says_what_the_ledger_says_has_no_difference() -> None:
    assert compare([ENTRY], {STREAM: DOCUMENT}) == []


@pytest.mark.parametrize(
    ("field", "entry"),
    [
        ("percentage", replace(ENTRY, percentage=6_666)),
        ("completed_lessons", replace(ENTRY, completed_lessons=3)),
        ("time_ms", replace(ENTRY, time_ms=61_501)),
        ("quiz_average", replace(ENTRY, quiz_average=None)),
        ("dropped", replace(ENTRY, dropped=True)),
        ("finished", replace(ENTRY, finished=True)),
    ],
)
def test_every_field_of_the_ledger_is_compared(field: str, entry: LedgerEntry) -> None:
    assert [difference.field for difference in compare([entry], {STREAM: DOCUMENT})] == [field]


def test_a_missing_document_is_a_difference() -> None:
    assert [difference.field for difference in compare([ENTRY], {})] == ["document"]


def test_rates_cover_the_last_seconds_only() -> None:
    rates = Rates()
    assert rates.add(Sample(0.0, 0, 0, 0, 0)) == 0
    assert rates.add(Sample(1.0, 0, 1_000, 0, 0)) == 1_000
    assert rates.add(Sample(9.0, 0, 1_000, 0, 0)) == 0
    assert rates.add(Sample(10.0, 0, 1_500, 0, 0)) == 500


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_in_a_terminal_and_in_a_log(terminal: bool) -> None:
    output = StringIO()
    console = Console(file=output, force_terminal=terminal, width=100)
    with make_display(console, Published(total=9_000)) as display:
        display.show(Sample(1.0, 8_000, 7_000, 6_000, 5_000))
    for number in ("8,000", "1,000", "6,000", "5,000"):
        assert number in output.getvalue()


def test_a_log_gets_a_short_line_every_two_seconds_at_most() -> None:
    output = StringIO()
    with make_display(Console(file=output, width=80), Published()) as display:
        for quarter in range(40):  # ten seconds
            display.show(Sample(quarter / 4, 12_345_678, 12_345_678, 12_345_678, 12_345_678, 12_345_678))
    heading, *lines = output.getvalue().splitlines()
    assert heading.split() == ["published", "stored", "projected", "counted", "lag", "rate"]
    assert len(lines) == 5
    assert all(len(line) < 80 for line in (heading, *lines))


def test_the_tables_name_what_is_wrong() -> None:
    output = StringIO()
    console = Console(file=output, width=150)
    wrong = Difference("learner-1 in course-1", "percentage", 100, 99)
    counted = Difference("course course-1", "total", 7, None)
    print_totals(console, replace(GOOD, differences=(wrong,), statistics=(counted,)))
    print_learner(console, EXAMPLE)
    print_course(console, EXAMPLE)
    for text in (str(wrong), str(counted), "NO", "66.67 %", "discussion posts 1", ENTRY.course_id):
        assert text in output.getvalue()


def test_the_tables_show_what_stands_in_the_documents_of_course_and_user() -> None:
    output = StringIO()
    console = Console(file=output, width=150)
    counted = Counted(enrolled=4, active=2, completed=1, rated=2, rating=700, stars_3=1, stars_4=1)
    example = replace(
        EXAMPLE,
        course={"title": "Statistics", "stats": course_stats(counted)},
        user={"profile": {"displayName": "Ada Abel"}, "stats": user_stats(counted, None)},
        notifications=[{"kind": "welcome", "status": "sent"}],
    )
    print_learner(console, example)
    print_course(console, example)
    for text in (
        "Statistics",
        "Ada Abel",
        "4 courses, 1 completed",
        "welcome, sent",
        "3.50 of 2 reviews",
        "0.250",
    ):
        assert text in output.getvalue()


def stored(number: int, event_type: str, **details: Any) -> dict[str, Any]:
    return {
        "_id": UUID(int=number),
        "stream_id": "course_" + "a" * 24,
        "event_type": event_type,
        "occurred_at": datetime(2025, 7, number, tzinfo=UTC),
        "event_data": {"details": details},
    }


def test_a_courses_timeline_says_what_each_event_has_changed_and_which_changed_nothing() -> None:
    price = {"type": "paid", "price": {"amount": "199.00", "currency": "EUR"}}
    events = [
        stored(8, "course_version_rolled_back", version="2.0", rollback_version="1.1"),
        stored(1, "course_created", pricing=price),
        stored(2, "workflow_started", stages=[{"name": "draft"}, {"name": "review"}]),
        stored(3, "workflow_stage_rejected", stage="review", return_to="draft"),
        stored(4, "workflow_stage_completed", stage="review"),
        stored(5, "course_version_deployed", version="1.1"),
        stored(6, "promotion_created", discount_percentage=20),
        stored(7, "course_archived"),
        stored(9, "course_priced", pricing={"payment_plans": [{"type": "one_time", "price": "0.00"}]}),
        stored(10, "course_created", pricing=price),
    ]
    reasons = {4: "not_in_progress", 9: "price_unlike_type", 10: "price_unlike_type"}
    refused = {"latest": [{"event_id": UUID(int=each), "reason": reason} for each, reason in reasons.items()]}
    timeline = course_timeline("Statistics", events, [{"without_effect": refused}, {"without_effect": None}])
    told = [
        (each.version, each.status, each.workflow, each.price, each.without_effect)
        for each in timeline.moments
    ]
    assert told == [
        ("", "draft", "", "199.00 EUR", ""),
        ("", "", "2 stages to come", "", ""),
        ("", "", "review rejected, back to draft", "", ""),
        ("", "", "", "", "not_in_progress"),
        ("1.1 deployed", "", "", "", ""),
        ("", "", "", "less 20 %", ""),
        ("", "archived", "", "", ""),
        ("1.1 again", "", "", "", ""),
        ("", "", "", "price_unlike_type", ""),
        ("", "draft", "", "199.00 EUR price_unlike_type", ""),
    ]
    output = StringIO()
    print_course_timeline(Console(file=output, width=150), timeline)
    print_counts(Console(file=output, width=150), {"courses": 7, "users": 1_200})
    for text in ("Statistics", "no effect: not_in_progress", "courses 7, users 1,200"):
        assert text in output.getvalue()


@pytest.mark.parametrize("own", [True, False])
def test_a_kept_demo_prints_a_status_command_with_every_name_that_is_not_the_usual_one(
    tmp_path: Path, own: bool
) -> None:
    output = StringIO()
    options = replace(DemoOptions(), names=OWN_NAMES) if own else DemoOptions()
    stack = Stack(tmp_path, "mongodb://127.0.0.1", "127.0.0.1:9092", None, None)
    print_urls(Console(file=output, width=150), stack, "http://127.0.0.1:1", options)
    (status,) = [line for line in output.getvalue().splitlines() if line.startswith("status ")]
    topics = [f"={topic}" for topic in OWN_NAMES.topics]
    names = [f"={OWN_NAMES.database_prefix}", f"={OWN_NAMES.kafka_group_id}", *topics]
    assert all((each in status) == own for each in names)
