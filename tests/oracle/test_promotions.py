"""The worker's fold of promotions and the oracle's agree; where a promotion was altered the oracle says so."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from hypothesis import given
from hypothesis import strategies as st

from projections.event import StoredEvent
from projections.promotions import PROMOTIONS
from tests.oracle.case import Case
from tests.oracle.promotions import promotion_documents
from tests.oracle.stored import Stored
from tests.support.money import PROMOTION, money_event
from tests.unit.projections.events import STORED_AT, stored_document
from worker.contract.source import Source
from worker.storage.database import Document
from worker.storage.documents import event_document

Happened = tuple[str, float, dict[str, Any]]

STARTS, LASTS, LATER = "2024-03-02T00:00:00Z", "2098-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
CREATED: dict[str, Any] = {
    "code": "SPRING",
    "discount_percentage": 20,
    "starts_at": STARTS,
    "expires_at": LASTS,
}
CHANGES: Sequence[dict[str, Any]] = (
    {"name": "Spring sale"},
    {"amount": "5.00", "currency": "EUR"},
    {"discount_percentage": 25},
    {"course_id": None},
    {"expires_at": LATER},
    {"starts_at": LATER},
    {"code": "OTHER", "course_id": "65a4f0c2e13b7a0001aaaaaa"},
)
_HAPPENED: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.just(("promotion_created", CREATED)),
    st.sampled_from(CHANGES).map(lambda details: ("promotion_changed", details)),
    st.just(("promotion_ended", {})),
)
_STORIES = st.lists(st.tuples(_HAPPENED, st.integers(0, 9)), min_size=1, max_size=12).map(
    lambda story: [(kind, float(at), details) for (kind, details), at in story]
)


def stored(story: Sequence[Happened]) -> list[Document]:
    events = []
    for version, (kind, at, details) in enumerate(story, start=1):
        # The same twice at the same moment would be one event.
        said = {"details": {"name": f"{version}", **details}} if kind != "promotion_ended" else {}
        event = money_event(kind, at + version / 1000, promotion_id=str(PROMOTION), **said)
        source = Source("billing-events", 0, version)
        events.append(stored_document(event_document(event, version, source, STORED_AT, None)))
    return events


def documents(events: Sequence[Document]) -> list[Document]:
    folded = PROMOTIONS.refold([*map(StoredEvent.from_document, events)], None, "live")
    return [{"_id": PROMOTION, "rev": 1, **folded}] if PROMOTIONS.has_begun(folded) else []


def findings(events: Sequence[Document], found: Sequence[Document]) -> list[str]:
    return list(promotion_documents(Case(Stored(events=events, others={"x_content.promotions": found}))))


@given(_STORIES, st.randoms(use_true_random=False))
def test_the_oracle_says_of_any_story_what_the_worker_says(story: list[Happened], random: Any) -> None:
    random.shuffle(story)
    events = stored(story)
    assert findings(events, documents(events)) == []


DAMAGE: dict[str, Callable[[Document], None]] = {
    "discount": lambda each: each.update(discount_percentage=30),
    "amount": lambda each: each.update(amount=Decimal128("5")),
    "end": lambda each: each.update(expires_at=STORED_AT),
    "refused": lambda each: each.update(without_effect=None),
    "behind": lambda each: each.update(version=1),
}
STORY: Sequence[Happened] = [
    ("promotion_created", 0, CREATED),
    ("promotion_changed", 1, {"discount_percentage": 25}),
    ("promotion_changed", 2, {"starts_at": LATER}),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_altered_promotion_is_told(damage: str) -> None:
    events = stored(STORY)
    [document] = documents(events)
    assert findings(events, [document]) == []
    DAMAGE[damage](document)
    assert findings(events, [document]) != []


def test_a_promotion_is_missed_unless_it_is_over() -> None:
    events = stored(STORY)
    assert findings(events, []) != []
    ended = stored([*STORY, ("promotion_ended", 3, {})])
    assert findings(ended, documents(ended)) == findings(ended, []) == []
