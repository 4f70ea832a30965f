"""What the fold accepts, what it refuses, and what a writer may rely on."""

from dataclasses import replace

import pytest
from bson import encode

from projections.event import StoredEvent
from projections.progress import FOLDED_PATHS, PROJECTION_VERSION, contiguous, fold, refold
from projections.progress.state import LESSONS_CAP, NOTES_CAP, SESSIONS_CAP
from tests.unit.projections.events import CODEC_OPTIONS, STORED_AT, VOID, arrive, event, moment


def posts(count: int, after: int = 0) -> list[StoredEvent]:
    return arrive([event("discussion_posted", at) for at in range(count)], after)


def test_the_fold_returns_exactly_the_paths_it_owns() -> None:
    assert set(fold(None, posts(1), "live")) == set(FOLDED_PATHS)
    assert "_id" not in FOLDED_PATHS
    assert "rev" not in FOLDED_PATHS


def test_a_document_names_the_projection_that_made_it() -> None:
    assert fold(None, posts(1), "live")["projection_version"] == PROJECTION_VERSION


def test_recorded_at_is_the_latest_one_folded_even_if_clocks_of_writers_differ() -> None:
    first, second = posts(2)
    behind = replace(second, recorded_at=moment(0))
    assert fold(None, [first, behind], "live")["recorded_at"] == STORED_AT


def test_no_further_events_leave_the_document_as_it_is() -> None:
    document = fold(None, posts(3), "live")
    assert fold(document, [], "replay") == document


def test_a_void_moves_the_version_and_nothing_a_reader_sees() -> None:
    document = fold(None, posts(1), "live")
    later = replace(VOID, version=2, recorded_at=moment(10**7), occurred_at=moment(10**7))
    assert fold(document, [later], "live") == {**document, "version": 2, "recorded_at": moment(10**7)}


def test_a_stream_of_nothing_but_voids_has_a_record_without_dates() -> None:
    document = fold(None, arrive([VOID]), "live")
    assert (document["version"], document["recorded_at"]) == (1, STORED_AT)
    assert document["created_at"] is document["last_accessed"] is document["enrollment_date"] is None


@pytest.mark.parametrize(
    "events",
    [posts(1, after=1), posts(1), [*posts(1, after=2), *posts(1, after=4)]],
    ids=["old", "older", "hole"],
)
def test_events_that_do_not_follow_the_document_are_refused(events: list[StoredEvent]) -> None:
    document = fold(None, posts(2), "live")
    with pytest.raises(ValueError, match="expected version"):
        fold(document, events, "live")


def test_an_event_of_another_stream_is_refused() -> None:
    stranger = replace(event("discussion_posted"), version=2, stream_id="course_x_user_y")
    with pytest.raises(ValueError, match="expected version"):
        fold(None, [*posts(1), stranger], "live")


def test_a_stream_without_events_has_no_document() -> None:
    with pytest.raises(ValueError, match="without events"):
        refold([], None, "replay")


@pytest.mark.parametrize("other", [PROJECTION_VERSION - 1, PROJECTION_VERSION + 1])
def test_a_document_of_another_projection_version_is_not_folded_on(other: int) -> None:
    document = {**fold(None, posts(1), "live"), "projection_version": other}
    with pytest.raises(ValueError, match="folded anew"):
        fold(document, posts(1, after=1), "live")


@pytest.mark.parametrize(
    "broken",
    [
        replace(
            event("progress_updated", details={"new_progress": 1, "old_progress": 0, "time_spent": 0}),
            details={},
        ),
        replace(event("quiz_submitted", lesson=1, details={"score": 1}), details={"score": 101}),
        replace(event("complete", lesson=1), lesson_id=None),
        replace(event("course_rated", value=3), value=None),
    ],
    ids=["missing", "out of range", "no lesson", "no value"],
)
def test_an_event_no_contract_let_in_raises_and_leaves_the_document_alone(broken: StoredEvent) -> None:
    document = fold(None, posts(1), "live")
    before = encode(document, codec_options=CODEC_OPTIONS)
    with pytest.raises((KeyError, ValueError)):
        fold(document, arrive([event("lesson_view", lesson=1), broken], after=1), "live")
    assert encode(document, codec_options=CODEC_OPTIONS) == before


def test_the_contiguous_run_ends_before_the_first_hole() -> None:
    events = posts(5, after=3)
    assert contiguous(3, events) == events
    assert contiguous(3, [*events[:2], *events[3:]]) == events[:2]
    assert contiguous(2, events) == []
    assert contiguous(3, []) == []


def test_the_largest_document_leaves_room_for_a_change_event_with_two_copies() -> None:
    note = "x" * 4096
    events = [event("lesson_note_saved", at, lesson=at, details={"text": note}) for at in range(NOTES_CAP)]
    for lesson in range(LESSONS_CAP):
        events.append(event("quiz_submitted", lesson, lesson=lesson, details={"score": 1, "time_taken": 1}))
        events.append(event("assignment_graded", lesson, lesson=lesson, value=1))
        events.append(event("complete", lesson, lesson=lesson))
    events += [event("discussion_posted", at, session_id=str(at)) for at in range(SESSIONS_CAP)]
    document = fold(None, arrive(events), "live")
    assert len(encode(document, codec_options=CODEC_OPTIONS)) < 7 * 1024 * 1024
