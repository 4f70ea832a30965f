"""What `explain` does not show of a document: what events say of who somebody is, and nothing else."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from projections.account.opening import opening_record
from projections.account.projection import USERS
from projections.catalogue import EVERY
from projections.content.courses.projection import COURSES
from projections.content.workflow import CONTENT_WORKFLOW
from projections.event import OPENING, StoredEvent
from projections.kinds import StreamProjection
from projections.progress.projection import PROGRESS
from tests.unit.contract.records import ALL_EXAMPLES, accepted
from worker.contract.families import PRODUCERS_TYPES
from worker.contract.source import Source
from worker.queries.stepwise import StepwiseFold
from worker.queries.withheld import MaskedFold, masked
from worker.storage.documents import event_document

START = datetime(2026, 1, 1, tzinfo=UTC)


def stored(event_type: str, version: int = 1, **details: Any) -> StoredEvent:
    """The example of a type as it is stored; `details` in place of its own, if any are given."""
    event = accepted({**ALL_EXAMPLES[event_type], **({"details": details} if details else {})})
    return StoredEvent.from_document(event_document(event, version, Source("t", 0, 0), START, None))


def told(projection: StreamProjection, events: Sequence[StoredEvent]) -> tuple[set[str], set[str]]:
    """The fields that the last of the events changed: those that are shown, and those that are withheld."""
    fold, twin = StepwiseFold(projection), MaskedFold(projection)
    for each in events:
        step = fold.take(each)
        twin.take(step)
    is_withheld, changes = twin.twin.withheld(dict), dict(step.changes())
    hidden = {name for name, value in changes.items() if is_withheld(name, value)}
    return changes.keys() - hidden, hidden


def below(fields: Iterable[str], *tops: str) -> set[str]:
    return {each for each in fields if each.partition(".")[0] in tops}


def test_of_a_registration_what_is_personal_is_withheld_and_all_else_is_shown() -> None:
    shown, hidden = told(USERS, [stored("user_registered")])
    assert hidden - below(hidden, "state") == {
        "profile.firstName",
        "profile.lastName",
        "profile.displayName",
        "contact.phone",
        "claims.email.value",
        "claims.username.value",
        "search_fields.full_name",
        "search_fields.searchable_text",
    }
    assert {
        "preferences.language",
        "account.roles",
        "claims.email.at",
        "metadata.created_at",
        "metadata.utm_params.source",
    } <= shown


def test_what_follows_from_words_of_an_event_before_is_withheld_too() -> None:
    """The text to search by has the name in it, though this event names words alone."""
    events = [stored("user_registered"), stored("keywords_changed", 2, keywords=["physics"])]
    _, hidden = told(USERS, events)
    assert {"search_fields.keywords", "search_fields.searchable_text"} <= hidden


def test_an_event_without_anything_personal_hides_nothing_in_a_document_that_has_much() -> None:
    events = [stored("user_registered"), stored("account_status_changed", 2), stored("logged_in", 3)]
    for number in (2, 3):
        shown, hidden = told(USERS, events[:number])
        assert shown
        assert hidden == set()


def test_a_course_is_shown_but_for_the_presentation_of_its_instructor() -> None:
    shown, hidden = told(COURSES, [stored("course_created")])
    assert below(hidden, "instructor") == hidden - below(hidden, "state")
    assert {"title", "instructor.user_id"} <= shown


def test_a_note_and_a_comment_are_withheld_and_what_is_beside_them_is_not() -> None:
    shown, hidden = told(PROGRESS, [stored("lesson_note_saved")])
    assert {each.rpartition(".")[2] for each in hidden - below(hidden, "state")} == {"notes"}
    assert {"last_accessed", "created_at"} <= shown
    events = [
        replace(event, occurred_at=START + timedelta(seconds=number), version=number + 1)
        for number, event in enumerate([stored("workflow_started"), stored("workflow_commented")])
    ]
    _, hidden = told(CONTENT_WORKFLOW, events)
    assert hidden
    assert below(hidden, "stages", "state") == hidden


def test_of_an_adopted_user_what_is_personal_is_withheld() -> None:
    user = {
        "email": "jane@example.com",
        "username": "jane",
        "profile": {"firstName": "Jane"},
        "preferences": {"language": "en"},
        "account": {"status": "active", "roles": ["instructor"]},
        "metadata": {"created_at": START},
    }
    opening = replace(stored("user_registered"), event_type=OPENING, details={"record": opening_record(user)})
    shown, hidden = told(USERS, [opening])
    assert {"profile.firstName", "claims.email.value", "search_fields.full_name"} <= hidden
    assert {"preferences.language", "account.roles"} <= shown
    assert "jane" not in str(masked(opening)).casefold()


@pytest.mark.parametrize("event_type", PRODUCERS_TYPES.by_name)
def test_every_event_can_be_folded_with_other_words_in_place_of_what_is_personal(event_type: str) -> None:
    """Else all that it changes would be withheld."""
    event = stored(event_type)
    folding = [each for each in EVERY.streams if each.folds(event.stream_id)]
    for projection in folding:
        step, twin = StepwiseFold(projection).take(event), MaskedFold(projection)
        twin.take(step)
        assert twin.twin.document is not None or not twin.twin.apart
