"""Verify finds exactly what is wrong in a stored history, and nothing in a right one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.verify.dead_letters import dead_letter, gap
from tests.integration.verify.history import (
    START,
    Learner,
    as_sent,
    learner,
    progress_of,
    store,
    stored_events,
    without,
)
from tests.support.clocks import ManualClock
from worker.contract.identity import (
    foreign_object_id,
    stream_id,
    stream_slot,
    void_event_id,
)
from worker.storage.database import Database, Document
from worker.verify import reading
from worker.verify.findings import Verification
from worker.verify.run import verify

HEALTHY = ("ada", "ben", "cyd")
TARGET = "vic"
EVENTS = 12


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages end in the middle of a stream, as they do in every store that is larger than a page."""
    monkeypatch.setattr(reading, "PAGE_EVENTS", 7)
    monkeypatch.setattr(reading, "PAGE_DOCUMENTS", 7)


async def soon(database: Database) -> Verification:
    """Some minutes after the events were recorded, while the worker runs."""
    return await verify(database, clock=ManualClock(START + timedelta(minutes=10)))


async def store_with(database: Database, target: Learner, rows: Sequence[Document] | None = None) -> None:
    """The target among healthy learners."""
    replaced = {} if rows is None else {target.stream: rows}
    await store(database, [*(learner(name) for name in HEALTHY), target], replaced)


def found(verification: Verification) -> list[tuple[str, str]]:
    return sorted((finding.name, finding.subject) for finding in verification.findings)


@pytest.mark.parametrize("page", [1_000, 12, 7, 1])
async def test_a_consistent_history_is_ok_and_completely_counted(
    database: Database, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = ("behind", "quarantined", "other_version", "without_effect", "parts")
    nothing = {**dict.fromkeys(numbers, 0), "reasons": {}}
    monkeypatch.setattr(reading, "PAGE_EVENTS", page)
    await store(database, [learner(name) for name in (*HEALTHY, TARGET)])

    verification = await verify(database, quiescent=True)

    assert verification.ok, verification.findings
    assert verification.to_json() == {
        "ok": True,
        "events": 48,
        "voids": 4,
        "streams": 4,
        "time_series_rows": 44,
        "rows_expired": 0,
        "documents": 4,
        "behind": 0,
        "set_aside": 0,
        "other_projection_version": 0,
        "in_flight": 0,
        "dead_letters": 0,
        "dead_letter_reasons": {},
        "gap_records": 0,
        "finding_counts": {},
        "findings": [],
        "projections": 0,
        "uncounted": 0,
        "other_counts_version": 0,
        "courses": 0,
        "users": 0,
        "statistics_missing": 0,
        "statistics_refused": 0,
        "notifications": 0,
        "billing_transactions": 0,
        "skipped_versions": 0,
        "faults": {},
        "by_projection": {
            name: {"documents": 4 if name == "progress" else 0, **nothing}
            for name in database.catalogue.names
        },
    }


async def test_an_empty_store_is_ok(database: Database) -> None:
    verification = await verify(database, quiescent=True)

    assert (verification.ok, verification.counts["events"], verification.counts["time_series_rows"]) == (
        True,
        0,
        0,
    )


async def test_one_learner_in_two_courses_is_two_streams(database: Database) -> None:
    here = learner(TARGET)
    other_course = foreign_object_id("another course")
    elsewhere = [_moved(event, other_course) for event in stored_events("somebody", range(1, 4))]
    await store(database, [here, Learner(tuple(elsewhere), progress_of(elsewhere))])

    verification = await verify(database, quiescent=True)

    assert verification.ok, verification.findings
    assert verification.counts["streams"] == 2


async def test_a_missing_row_is_found(database: Database) -> None:
    target = learner(TARGET)
    await store_with(database, target, target.rows[1:])

    verification = await verify(database)

    assert found(verification) == [("row_missing", target.stream)]
    assert str(target.rows[0]["_id"]) in verification.findings[0].detail


async def test_a_row_that_may_have_expired_is_not_missing_and_one_that_is_there_must_be_right(
    database: Database,
) -> None:
    """A day is what rows are kept for: years after the events every row may be gone, ten minutes after them none."""
    target = learner(TARGET)
    await database.analytics.command({"collMod": "user_interactions", "expireAfterSeconds": 86_400})
    await store_with(database, target, [*target.rows[2:], target.rows[3]])

    later = await verify(database, quiescent=True)

    assert found(later) == [("row_doubled", target.stream)]
    assert later.counts["rows_expired"] == 2
    assert ("row_missing", target.stream) in found(await soon(database))


async def test_a_doubled_row_is_found(database: Database) -> None:
    target = learner(TARGET)
    await store_with(database, target, [*target.rows, target.rows[3]])

    verification = await verify(database)

    assert found(verification) == [("row_doubled", target.stream)]
    assert verification.counts["time_series_rows"] == 45


@pytest.mark.parametrize(
    "change",
    [
        {"value": 4711},
        {"timestamp": START + timedelta(minutes=1, seconds=1)},
        {"details": {"total_lessons": 4.0}},
    ],
    ids=["another value", "another time", "an integer that became a float"],
)
async def test_an_altered_row_is_found(database: Database, change: dict[str, Any]) -> None:
    target = learner(TARGET)
    await store_with(database, target, [{**target.rows[0], **change}, *target.rows[1:]])

    assert found(await verify(database)) == [("row_different", target.stream)]


async def test_an_extra_row_is_found(database: Database) -> None:
    target = learner(TARGET)
    await store_with(database, target, [*target.rows, {**target.rows[0], "_id": uuid4()}])

    assert found(await verify(database)) == [("row_extra", target.stream)]


async def test_a_row_of_a_void_is_extra(database: Database) -> None:
    target = learner(TARGET)
    of_void = {**target.rows[0], "_id": void_event_id(target.stream, 5)}
    await store_with(database, target, [*target.rows, of_void])

    assert found(await verify(database)) == [("row_extra", target.stream)]


async def test_rows_of_a_learner_without_events_are_found(database: Database) -> None:
    stranger = learner("stranger")
    await store_with(database, learner(TARGET))
    await database.user_interactions.insert_many(stranger.rows)

    verification = await verify(database)

    assert set(found(verification)) == {("row_extra", stranger.stream)}
    assert verification.finding_counts == {"row_extra": 11}


async def test_a_row_that_names_no_learner_is_found(database: Database) -> None:
    await store_with(database, learner(TARGET))
    await database.user_interactions.insert_one({"timestamp": START, "metadata": {"by": "somebody else"}})

    assert (await verify(database)).finding_counts == {"row_extra": 1}


async def test_a_hole_in_the_versions_is_found_with_the_row_nobody_owns(database: Database) -> None:
    target = learner(TARGET, void_at=None)
    await store_with(database, without(target, 8), target.rows)

    verification = await verify(database)

    assert found(verification) == [
        ("row_extra", target.stream),
        ("version_hole", target.stream),
    ]
    assert "versions 8 to 8" in " ".join(finding.detail for finding in verification.findings)


async def test_a_stream_that_does_not_start_at_one_has_a_hole(database: Database) -> None:
    target = without(learner(TARGET, void_at=None), 1)
    await store_with(database, target)

    assert found(await verify(database)) == [("version_hole", target.stream)]


async def test_an_event_that_a_void_replaced_leaves_an_extra_row_and_another_document(
    database: Database,
) -> None:
    target = learner(TARGET, void_at=None)
    voided = learner(TARGET, void_at=2)
    await store_with(database, replace(target, events=voided.events), target.rows)

    assert found(await verify(database)) == [
        ("progress_different", target.stream),
        ("row_extra", target.stream),
    ]


async def test_a_void_under_an_id_of_its_own_is_found(database: Database) -> None:
    target = learner(TARGET, void_at=5)
    events = tuple({**event, "_id": uuid4()} if event["version"] == 5 else event for event in target.events)
    await store_with(database, replace(target, events=events), target.rows)

    assert found(await verify(database)) == [("void_wrong_id", target.stream)]


async def test_an_event_in_a_wrong_slot_is_found(database: Database) -> None:
    target = learner(TARGET)
    wrong = (target.events[0]["slot"] + 1) % 256
    events = ({**target.events[0], "slot": wrong}, *target.events[1:])
    await store_with(database, replace(target, events=events), target.rows)

    assert found(await verify(database)) == [("event_misfiled", target.stream)]


@pytest.mark.parametrize(
    "path", ["progress.percentage", "time_tracking.total_seconds", "state.time_ms", "lesson_progress", "slot"]
)
async def test_an_altered_document_is_found_and_its_path_named(database: Database, path: str) -> None:
    target = learner(TARGET)
    await store_with(database, target)
    of_type: dict[str, Any] = {"lesson_progress": [], "slot": 0, "state.time_ms": 1}
    altered = {"$set": {path: of_type.get(path, 1.5)}}
    await database.user_progress.update_one({"_id": target.progress["_id"]}, altered)

    verification = await verify(database)

    assert found(verification) == [("progress_different", target.stream)]
    assert verification.findings[0].detail.endswith(f"in {path.split('.', maxsplit=1)[0]}")


async def test_fields_of_the_platform_and_who_met_a_milestone_do_not_matter(database: Database) -> None:
    target = learner(TARGET)
    await store_with(database, target)
    change = {"$set": {"achievements": ["platform's"], "rev": 77, "milestones.welcome.by": "replay"}}
    await database.user_progress.update_one({"_id": target.progress["_id"]}, change)

    assert (await verify(database, quiescent=True)).ok


async def test_a_document_ahead_of_the_store_is_found(database: Database) -> None:
    target = learner(TARGET)
    await store_with(database, without(target, 11, 12))

    assert found(await verify(database)) == [("progress_ahead", target.stream)]


async def test_a_document_behind_the_store_is_counted_and_is_a_finding_once_quiescent(
    database: Database,
) -> None:
    target = learner(TARGET)
    await store_with(database, replace(target, progress=progress_of(target.events[:9])))

    live, quiescent = await soon(database), await verify(database, quiescent=True)

    assert (live.ok, live.of("progress").behind) == (True, 1)
    assert found(quiescent) == [("progress_behind", target.stream)]


async def test_a_document_behind_is_still_held_against_its_own_version(database: Database) -> None:
    target = learner(TARGET)
    early = progress_of(target.events[:9])
    wrong = {**early, "social": {**early["social"], "discussion_posts": 3}}
    await store_with(database, replace(target, progress=wrong))

    live = await soon(database)

    assert (found(live), live.of("progress").behind) == ([("progress_different", target.stream)], 1)


async def test_a_missing_document_is_counted_and_is_a_finding_once_quiescent(database: Database) -> None:
    target = learner(TARGET)
    await store_with(database, target)
    await database.user_progress.delete_one({"_id": target.progress["_id"]})

    live, quiescent = await soon(database), await verify(database, quiescent=True)

    assert (live.ok, live.of("progress").behind) == (True, 1)
    assert found(quiescent) == [("progress_missing", target.stream)]


async def test_a_quarantined_stream_is_counted_and_never_a_finding_for_being_behind(
    database: Database,
) -> None:
    target = learner(TARGET)
    await store_with(database, replace(target, progress=progress_of(target.events[:9])))
    await database.analytics_queue.insert_one(_queue_item(target.stream))

    quiescent = await verify(database, quiescent=True)

    assert (quiescent.ok, quiescent.of("progress").behind, quiescent.of("progress").quarantined) == (
        True,
        1,
        1,
    )


async def test_a_document_of_a_stream_without_events_is_found(database: Database) -> None:
    ghost = learner("ghost")
    await store_with(database, learner(TARGET))
    await database.user_progress.insert_one(ghost.progress)

    assert found(await verify(database)) == [("progress_unknown", ghost.stream)]


async def test_a_document_under_a_wrong_id_is_found(database: Database) -> None:
    target = learner(TARGET)
    moved = {**target.progress, "_id": foreign_object_id("elsewhere")}
    await store_with(database, replace(target, progress=moved))

    quiescent = await verify(database, quiescent=True)

    assert found(quiescent) == [
        ("progress_missing", target.stream),
        ("progress_unknown", target.stream),
    ]


async def test_an_event_no_fold_accepts_is_a_finding_for_its_stream_only(database: Database) -> None:
    target = learner(TARGET, void_at=None)
    bad = as_sent({**target.events[4], "event_type": "course_rated"})
    events = (*target.events[:4], bad, *target.events[5:])
    poisoned = replace(target, events=events)
    await store_with(database, poisoned)

    verification = await verify(database)

    assert found(verification) == [("fold_failed", target.stream)]
    assert "ValueError" in verification.findings[0].detail


async def test_dead_letters_are_counted_by_reason_and_gaps_apart(database: Database) -> None:
    await database.dead_letters.insert_many(
        [
            dead_letter(1, reason="not_json"),
            dead_letter(2, reason="not_json"),
            dead_letter(3, reason="conflict"),
        ]
    )
    await database.dead_letters.insert_one(gap("retention"))

    verification = await verify(database)

    assert verification.dead_letter_reasons == {"not_json": 2, "conflict": 1}
    assert (verification.counts["dead_letters"], verification.counts["gap_records"], verification.ok) == (
        3,
        1,
        True,
    )


async def test_many_findings_are_counted_all_and_kept_few(database: Database) -> None:
    target = learner(TARGET, events=300, void_at=None)
    await store_with(database, target, [])

    verification = await verify(database)

    assert verification.finding_counts == {"row_missing": 300}
    assert len(verification.findings) == 100


async def test_progress_of_the_check_is_told(database: Database) -> None:
    await store(database, [learner(name) for name in HEALTHY])
    told: list[int] = []

    await verify(database, on_progress=told.append)

    assert told == sorted(told)
    assert told[-1] == EVENTS * len(HEALTHY)


def _moved(event: Document, course: Any) -> Document:
    """The same event for the target in another course."""
    user = foreign_object_id(TARGET)
    data = {**event["event_data"], "course_id": course, "user_id": user}
    stream = stream_id(course, user)
    return as_sent({**event, "stream_id": stream, "event_data": data, "slot": stream_slot(stream)})


def _queue_item(stream: str) -> Document:
    return {
        "_id": f"progress:{stream}",
        "event_type": "progress_fold",
        "data": {},
        "status": "pending",
        "retry_count": 0,
        "last_error": "ValueError",
        "last_retry": None,
        "created_at": START,
        "processed_at": None,
        "stream_id": stream,
        "version": 10,
        "error_class": "ValueError",
        "code_version": "0.1.0",
        "due_at": START,
        "lease_owner": None,
        "lease_until": None,
    }
