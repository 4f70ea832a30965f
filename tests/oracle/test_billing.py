"""Of any transaction the worker's fold and the oracle's say the same, whatever happened to it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from projections.billing import BILLING
from projections.event import StoredEvent
from tests.oracle.billing import expected_row
from tests.oracle.finding import unequal
from tests.unit.projections.events import arrive, course_event, stored_document
from tests.unit.projections.test_billing import EVENTS


@given(st.lists(EVENTS, min_size=1, max_size=9, unique_by=lambda each: each.event_id))
@settings(max_examples=300)
def test_the_oracle_says_of_any_transaction_what_the_worker_says(events: list[StoredEvent]) -> None:
    row = stored_document(BILLING.refold(arrive(events), None, "live"))
    expected = expected_row([stored_document(course_event(each)) for each in arrive(events)])
    assert (expected is not None) == BILLING.has_begun(row)
    if expected is not None:
        assert list(unequal("row", expected, row)) == []
