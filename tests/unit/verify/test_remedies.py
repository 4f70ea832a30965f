"""Every finding that verify can make has a remedy, or a reason that says what to do instead."""

import pytest

from projections.catalogue import CATALOGUE
from tests.integration.test_third_projection import CATALOGUE as OF_THREE
from worker.storage.database import collections_of
from worker.verify.findings import (
    CONTEST_FAULTS,
    READ_MODEL_FAULTS,
    STREAM_PROJECTION_FAULTS,
    SUM_PROJECTION_FAULTS,
    Fault,
    Finding,
    Kind,
)
from worker.verify.remedies import Remedy, prescribe

NO_WAY = "nothing here knows how to mend it"
FINDINGS = [
    *((kind, fault) for kind in Kind if kind is not Kind.DOCUMENT for fault in kind.faults),
    *((each.name, fault) for each in OF_THREE.streams for fault in STREAM_PROJECTION_FAULTS),
    *((each.name, fault) for each in OF_THREE.sums for fault in SUM_PROJECTION_FAULTS),
    *((each.name, fault) for each in OF_THREE.models for fault in READ_MODEL_FAULTS),
    *((each.name, fault) for each in OF_THREE.contests for fault in CONTEST_FAULTS),
]
CHECKED = (
    *("course_events", "user_interactions", "notifications", "billing_transactions", "courses", "users"),
    *("dead_letters", "analytics_queue", "leases", "projection_state"),
    *(target.collection for target in CATALOGUE.targets),
)


@pytest.mark.parametrize(("kind", "fault"), FINDINGS, ids=lambda each: str(each))
def test_each_kind_and_fault_has_a_remedy_or_a_reason(kind: str, fault: Fault) -> None:
    found = prescribe(Finding(kind, fault, "subject", "detail"), OF_THREE)
    assert (found.remedy is None) == bool(found.reason)
    assert found.reason != NO_WAY


@pytest.mark.parametrize("collection", CHECKED)
def test_a_document_that_cannot_be_read_has_a_remedy_or_a_reason(collection: str) -> None:
    assert collection in collections_of(CATALOGUE)
    for fault in Kind.DOCUMENT.faults:
        found = prescribe(Finding(Kind.DOCUMENT, fault, "s", "d", about=(collection, 1)), CATALOGUE)
        assert (found.remedy is None) == bool(found.reason)
        assert found.reason != NO_WAY


def test_what_follows_from_events_is_made_again_and_what_follows_from_nothing_is_not() -> None:
    def remedy(kind: str, fault: Fault, collection: str = "") -> Remedy | None:
        return prescribe(Finding(kind, fault, "s", "d", about=(collection, 1)), CATALOGUE).remedy

    assert remedy("progress", Fault.DIFFERENT) is Remedy.FOLD
    assert remedy(Kind.DOCUMENT, Fault.UNREADABLE, "user_progress") is Remedy.FOLD
    assert remedy(Kind.DOCUMENT, Fault.UNREADABLE, "user_progress_projections") is Remedy.COUNT
    assert remedy(Kind.ROW, Fault.MISSING) is Remedy.SERIES
    assert remedy(Kind.NOTIFICATION, Fault.MISSING) is Remedy.ROWS
    assert remedy(Kind.EVENT, Fault.FINGERPRINT_DIFFERENT) is None
    assert remedy("progress", Fault.AHEAD) is None
