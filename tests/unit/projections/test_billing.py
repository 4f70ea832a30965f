"""What a transaction's events come to: the status goes up only, and what does not fit is named with its reason."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from bson import ObjectId
from bson.decimal128 import Decimal128
from hypothesis import given
from hypothesis import strategies as st

from projections.billing import BILLING
from projections.billing.document import BillingTransaction
from projections.event import StoredEvent
from projections.without_effect import SHOWN
from tests.support.money import TRANSACTION, failed, made, part, refund
from tests.unit.projections.events import COURSE, USER, VOID, arrive, content, moment, split, stored_document
from worker.contract.identity import foreign_object_id, stream_object_id

OTHER_USER, OTHER_COURSE = ObjectId("5f0000000000000000000003"), ObjectId("5f0000000000000000000004")


def row(*events: StoredEvent) -> dict[str, Any]:
    return BILLING.refold(arrive(events), None, "live")


def reasons(document: dict[str, Any]) -> list[str]:
    refused = document["without_effect"]
    return [] if refused is None else [each["reason"] for each in refused["latest"]]


def test_a_payment_is_the_row_that_the_spec_has() -> None:
    document = row(made())
    BillingTransaction.model_validate({"_id": foreign_object_id(TRANSACTION), "rev": 1, **document})
    wanted = {
        "user_id": USER,
        "course_id": COURSE,
        "amount": Decimal128("199.99"),
        "currency": "USD",
        "payment_method": "card",
        "status": "completed",
        "transaction_id": TRANSACTION,
        "created_at": moment(0),
    }
    assert {name: document[name] for name in wanted} == wanted
    assert document["event_id"] == made().event_id
    assert stream_object_id(document["stream_id"]) == foreign_object_id(TRANSACTION)


@pytest.mark.parametrize(
    ("events", "status", "refunded", "refused"),
    [
        pytest.param([failed()], "failed", None, [], id="failed"),
        pytest.param([failed(), made(5)], "completed", None, [], id="failed, then paid"),
        pytest.param([made(), failed(5)], "completed", None, ["paid_already"], id="fails after it was paid"),
        pytest.param([made(), refund()], "refunded", "199.99", [], id="refunded"),
        pytest.param([made(), refund(amount="49.99")], "completed", "49.99", [], id="refunded in part"),
        pytest.param(
            [made(), refund(10, "49.99"), refund(20, "150.00")], "refunded", "199.99", [], id="in two parts"
        ),
        pytest.param([made(), refund(10, "49.99"), refund(20)], "refunded", "199.99", [], id="the rest"),
        pytest.param(
            [made(), refund(10, "150"), refund(20, "50")], "completed", "150", ["above_paid"], id="too much"
        ),
        pytest.param(
            [made(), refund(10), refund(20)], "refunded", "199.99", ["refunded_already"], id="refunded twice"
        ),
        pytest.param(
            [made(amount="0"), refund()], "completed", None, ["nothing_paid"], id="nothing to refund"
        ),
        pytest.param([failed(), refund()], "failed", None, ["nothing_paid"], id="refunded unpaid"),
        pytest.param([part(1)], "pending", None, [], id="an instalment"),
        pytest.param([part(1), part(2, 5), part(3, 9)], "completed", None, [], id="all instalments"),
        pytest.param([part(1), failed(5)], "pending", None, [], id="an instalment fails"),
        pytest.param([part(1), refund(5)], "refunded", "50.00", [], id="an instalment is refunded"),
        pytest.param(
            [part(1), refund(5), part(2, 9)], "refunded", "50.00", ["refunded_already"], id="never back"
        ),
        pytest.param([made(), made(5)], "completed", None, [], id="named twice"),
        pytest.param([part(1), part(1, 5)], "pending", None, [], id="an instalment named twice"),
        pytest.param([made(), made(5, "99.99")], "completed", None, ["other_amount"], id="a wrong price"),
        pytest.param([part(1), part(1, 5, "60")], "pending", None, ["paid_twice"], id="a wrong instalment"),
        pytest.param([part(1), part(2, 5, of=4)], "pending", None, ["other_plan"], id="another plan"),
        pytest.param([made(), part(1, 5)], "completed", None, ["paid_at_once"], id="at once, and by parts"),
        pytest.param(
            [part(1), made(5)], "pending", None, ["paid_in_instalments"], id="by parts, and at once"
        ),
        pytest.param(
            [made(), made(5, user=OTHER_USER)], "completed", None, ["other_user"], id="contested by a user"
        ),
        pytest.param(
            [made(), refund(5, user=OTHER_USER)], "completed", None, ["other_user"], id="another's refund"
        ),
        pytest.param(
            [made(), made(5, course=OTHER_COURSE)], "completed", None, ["other_course"], id="another course"
        ),
        pytest.param(
            [made(), made(5, currency="EUR")], "completed", None, ["other_currency"], id="another currency"
        ),
        pytest.param(
            [made(), refund(5, "9", currency="EUR")],
            "completed",
            None,
            ["other_currency"],
            id="refunded in euro",
        ),
    ],
)
def test_a_transaction_comes_to(
    events: list[StoredEvent], status: str, refunded: str | None, refused: list[str]
) -> None:
    """In whatever order its events arrive."""
    rows = [row(*some) for some in permutations(events)]
    assert all(content(each) == content(rows[0]) for each in rows)
    assert rows[0]["status"] == status
    assert rows[0]["refunded_amount"] == (None if refunded is None else Decimal128(refunded))
    assert reasons(rows[0]) == refused


def test_what_has_no_effect_changes_nothing_but_that_it_is_named() -> None:
    without = row(made(), refund(10, "20"))
    beside = row(made(), refund(10, "20"), made(12, "1.00"), refund(14, "500"), failed(16))
    apart = ("version", "without_effect", "state", "recorded_at")
    assert [n for n in without if without[n] != beside[n]] == [n for n in without if n in apart[:3]]
    assert beside["without_effect"]["reasons"] == {"above_paid": 1, "other_amount": 1, "paid_already": 1}


def test_amounts_are_exact_decimals_as_they_were_written() -> None:
    document = row(part(1, 0, "0.10", 2), part(2, 1, "0.2", 2))
    assert document["amount"] == Decimal128("0.30")
    assert row(made(amount="10.5000"))["amount"] == Decimal128("10.5000")


def test_a_transaction_of_voids_or_of_a_refund_alone_is_no_row_yet() -> None:
    void = replace(VOID, stream_id=made().stream_id)
    assert not BILLING.has_begun(row(void))
    assert not BILLING.has_begun(row(refund()))
    assert BILLING.has_begun(row(refund(10), made(20)))
    assert BILLING.has_begun(row(failed()))


def test_an_enrolments_payment_stands_for_the_enrolment() -> None:
    enrolment = UUID(int=7)
    assert row(made(enrolment_id=str(enrolment)))["event_id"] == enrolment
    assert row(made(1), made(0, enrolment_id=str(enrolment)))["event_id"] == enrolment


def test_a_type_of_a_newer_contract_is_no_step() -> None:
    assert row(made(), replace(made(3), event_type="payment_disputed"))["status"] == "completed"


def test_what_is_shown_of_many_without_effect_is_bounded() -> None:
    many = [made(at, str(at)) for at in range(1, SHOWN + 9)]
    assert row(made(0, "500"), *many)["without_effect"]["total"] == SHOWN + 8
    assert len(reasons(row(made(0, "500"), *many))) == SHOWN
    with pytest.raises(ValueError, match="too many"):
        row(*(made(at, str(at)) for at in range(600)))


_AT = st.integers(0, 4)
_AMOUNT = st.sampled_from(["10", "10.0", "20.50", "100"])
_WHO = st.fixed_dictionaries({}, optional={"user": st.just(OTHER_USER), "currency": st.just("EUR")})
EVENTS = st.one_of(
    st.builds(lambda at, amount, who: made(at, amount, **who), _AT, _AMOUNT, _WHO),
    st.builds(lambda at, who: failed(at, **who), _AT, _WHO),
    st.builds(lambda at, amount, who: refund(at, amount, **who), _AT, st.none() | _AMOUNT, _WHO),
    st.builds(
        lambda at, number, amount, who: part(number, at, amount, **who), _AT, st.integers(1, 3), _AMOUNT, _WHO
    ),
)
_RANK = {"failed": 0, "pending": 1, "completed": 2, "refunded": 3}


@given(
    st.lists(EVENTS, min_size=1, max_size=9, unique_by=lambda each: each.event_id),
    st.randoms(),
    st.sets(st.integers(1, 8)),
)
def test_any_order_and_any_batches_give_the_same_row(
    events: list[StoredEvent], random: Any, cuts: set[int]
) -> None:
    shuffled = random.sample(events, len(events))
    current: dict[str, Any] | None = None
    batches: Sequence[Sequence[StoredEvent]] = split(arrive(shuffled), cuts)
    for batch in batches:
        current = stored_document(BILLING.fold(current, batch, "live"))
    whole = row(*events)
    assert current is not None
    assert content(current) == content(stored_document(whole))
    taken = sorted(events, key=lambda each: (each.occurred_at, each.event_id))
    ranks = [_RANK[row(*taken[:count])["status"]] for count in range(1, len(taken) + 1)]
    assert ranks == sorted(ranks)
