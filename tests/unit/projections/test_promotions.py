"""What a promotion's events come to, in whatever order they arrive."""

from itertools import permutations
from typing import Any

import pytest
from bson.decimal128 import Decimal128

from projections.event import StoredEvent
from projections.promotions import PROMOTIONS, Promotion
from tests.support.money import EXPIRES, LATER, PROMOTION, created, promoted
from tests.unit.projections.events import COURSE, arrive, content, moment
from worker.contract.times import parse_time


def changed(at: float, **details: Any) -> StoredEvent:
    return promoted("promotion_changed", at, **details)


def ended(at: float) -> StoredEvent:
    return promoted("promotion_ended", at)


def shown(*events: StoredEvent) -> dict[str, Any]:
    """The document, the same in any order of arrival."""
    documents = [PROMOTIONS.refold(arrive(some), None, "live") for some in permutations(events)]
    assert all(content(each) == content(documents[0]) for each in documents)
    return documents[0]


def reasons(document: dict[str, Any]) -> list[str]:
    refused = document["without_effect"]
    return [] if refused is None else [each["reason"] for each in refused["latest"]]


def test_a_promotion_shows_its_terms_and_expires_when_it_says() -> None:
    document = shown(created(course_id=str(COURSE), name="Spring sale"))
    Promotion.model_validate({"_id": PROMOTION, "rev": 1, **document})
    assert document["code"] == "SPRING"
    assert (document["discount_percentage"], document["amount"]) == (20, None)
    assert document["course_id"] == COURSE
    assert document["expires_at"] == parse_time(EXPIRES)
    assert PROMOTIONS.has_begun(document)


def test_what_is_changed_takes_the_place_of_what_was_there() -> None:
    document = shown(
        created(course_id=str(COURSE)),
        changed(10, amount="15.00", currency="EUR", course_id=None),
        changed(20, expires_at=LATER),
    )
    assert (document["discount_percentage"], document["amount"]) == (None, Decimal128("15.00"))
    assert (document["currency"], document["course_id"]) == ("EUR", None)
    assert document["expires_at"] == parse_time(LATER)
    assert document["updated_at"] == moment(20)


def test_one_that_is_ended_before_its_time_expires_then() -> None:
    document = shown(created(), ended(60))
    assert document["expires_at"] == document["ended_at"] == moment(60)


@pytest.mark.parametrize(
    ("events", "refused"),
    [
        pytest.param([created(0), created(5, code="OTHER")], ["created_already"], id="created twice"),
        pytest.param([changed(0, code="EARLY"), created(5)], ["not_created"], id="changed before"),
        pytest.param([created(0), ended(5), changed(9, code="LATE")], ["ended_already"], id="changed after"),
        pytest.param([created(0), ended(5), ended(9)], ["ended_already"], id="ended twice"),
        pytest.param(
            [created(0), changed(5, starts_at=LATER)], ["starts_after_its_end"], id="starts after its end"
        ),
    ],
)
def test_what_does_not_fit_has_no_effect(events: list[StoredEvent], refused: list[str]) -> None:
    document = shown(*events)
    assert reasons(document) == refused
    assert document["code"] == "SPRING"


def test_an_end_alone_is_no_promotion() -> None:
    assert not PROMOTIONS.has_begun(shown(ended(5)))
