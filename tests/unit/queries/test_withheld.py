"""What `explain` does not show of a document: what an event says of who somebody is."""

from datetime import UTC, datetime

import pytest

from projections.event import StoredEvent
from tests.unit.contract.records import ALL_EXAMPLES, accepted
from worker.contract.families import ALL_TYPES
from worker.contract.personal import PERSONAL_KEYS
from worker.contract.source import Source
from worker.queries.explain import is_withheld
from worker.storage.documents import event_document


def _stored(event_type: str) -> StoredEvent:
    event = accepted(ALL_EXAMPLES[event_type])
    return StoredEvent.from_document(event_document(event, 1, Source("t", 0, 0), datetime.now(UTC), None))


@pytest.mark.parametrize("event_type", ALL_TYPES.by_name)
def test_what_a_fold_makes_of_personal_details_is_withheld_and_nothing_else(event_type: str) -> None:
    event = _stored(event_type)
    says_who = not PERSONAL_KEYS.get(event_type, frozenset()).isdisjoint(event.details)
    assert is_withheld(event, "whatever a fold made of it") is says_who
    if event.text is not None:
        assert is_withheld(event, event.text)
