"""What a course costs beside what its type says, where several events have said it: the type decides."""

from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import pairwise, permutations
from typing import Any
from uuid import UUID

import pytest
from bson import ObjectId
from bson.decimal128 import Decimal128
from hypothesis import example, given
from hypothesis import strategies as st

from projections.content.courses.projection import COURSES
from projections.content.versions.projection import COURSE_VERSIONS
from projections.event import StoredEvent
from projections.without_effect import refused_by_reason
from tests.oracle.courses import contradicts, expected_course
from tests.support.courses import CREATED, TEACHER, event_of, moment, sent, stored, story, version
from tests.unit.projections.events import stored_document
from tests.unit.projections.test_courses import content, encoded, folded, opening
from tests.unit.projections.test_versions import told
from worker.storage.database import Document

BORN = sent("course_created", 0, **CREATED)
REASON = "price_unlike_type"


def priced(at: float, **pricing: Any) -> Document:
    return sent("course_priced", at, pricing=pricing)


def price(amount: str) -> Document:
    return {"amount": amount, "currency": "EUR"}


def once(amount: str) -> Document:
    return {"type": "one_time", "price": amount}


def parts(amount: str) -> Document:
    return {"type": "installments", "installments": 3, "price_per_installment": amount}


def entry(sent_event: Document, reason: str = REASON) -> Document:
    """How the document lists an event that was sent."""
    return {
        "event_id": UUID(sent_event["event_id"]),
        "event_type": sent_event["event_type"],
        "occurred_at": datetime.fromisoformat(sent_event["occurred_at"]),
        "reason": reason,
    }


def one(event: Document) -> Document:
    return {"total": 1, "reasons": {REASON: 1}, "latest": [entry(event)]}


def arrived(*events: Document) -> Document:
    """The document after these events, each of which comes in a batch of its own and through the store."""
    document: Document | None = None
    for event in story(events):
        document = stored_document(COURSES.fold(document, [event], "live"))
    assert document is not None
    return document


_COSTS: Mapping[str, Document] = {
    "a price": {"price": price("5")},
    "no price": {"price": price("0")},
    "plans": {"payment_plans": [once("5"), parts("0")]},
}
# Of a type and a part: whether it is shown, whichever of them was said first.
PAIRS: Mapping[str, tuple[str, Document, bool]] = {
    "free, at a price": ("free", {"price": price("100")}, False),
    "free, at a cent": ("free", {"price": price("0.01")}, False),
    "free, at no price": ("free", {"price": price("0.00")}, True),
    "free, with a plan": ("free", {"payment_plans": [once("5")]}, False),
    "free, with a plan for nothing": ("free", {"payment_plans": [once("0")]}, False),
    "free, without plans": ("free", {"payment_plans": []}, True),
    "paid, at a price": ("paid", {"price": price("0.01")}, True),
    "paid, at no price": ("paid", {"price": price("0")}, False),
    "paid, with plans": ("paid", {"payment_plans": [once("5"), parts("2")]}, True),
    "paid, with a plan for nothing": ("paid", {"payment_plans": [once("5"), once("0.00")]}, False),
    "paid, with instalments of nothing": ("paid", {"payment_plans": [parts("0"), once("5")]}, False),
    "paid, without plans": ("paid", {"payment_plans": []}, True),
    **{
        f"{kind}, with {name}": (kind, part, True)
        for kind in ("subscription", "premium")
        for name, part in _COSTS.items()
    },
}


@pytest.mark.parametrize("type_first", [True, False])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_part_that_its_type_does_not_allow_is_not_shown_and_listed(pair: str, type_first: bool) -> None:
    kind, part, fits = PAIRS[pair]
    of_type, of_part = priced(1 if type_first else 2, type=kind), priced(2 if type_first else 1, **part)
    neighbour = sent("course_described", 3, subtitle="stays")
    events = [BORN, of_type, of_part, neighbour]
    course = folded(*events)

    together = folded(*events, priced(4, type="premium"))
    assert course["pricing"] == ({**together["pricing"], "type": kind} if fits else {"type": kind})
    assert course["without_effect"] == (None if fits else one(of_part))
    assert (course["title"], course["subtitle"], course["status"]) == (CREATED["title"], "stays", "draft")
    for order in permutations(events):
        assert encoded(content(arrived(*order))) == encoded(content(course))


def test_the_parts_are_judged_each_by_itself_and_an_event_is_listed_once() -> None:
    both = priced(1, price=price("9"), payment_plans=[once("0")])
    plans_alone = folded(BORN, both, priced(2, type="paid"))
    assert plans_alone["pricing"] == {"type": "paid", "price": {"amount": 9.0, "currency": "EUR"}}
    assert plans_alone["without_effect"] == one(both)
    neither = folded(BORN, both, priced(2, type="free"))
    assert neither["pricing"] == {"type": "free"}
    assert neither["without_effect"] == one(both)
    first, second = priced(1, price=price("9")), priced(2, payment_plans=[once("9")])
    course = folded(BORN, first, second, priced(3, type="free"))
    assert course["without_effect"]["reasons"] == {REASON: 2}
    assert course["without_effect"]["latest"] == [entry(first), entry(second)]


@pytest.mark.parametrize(
    "anew",
    [
        {"type": "paid"},
        {"type": "subscription"},
        {"type": "free", "price": price("0"), "payment_plans": None},
        {"price": None, "payment_plans": []},
    ],
)
def test_nothing_is_refused_any_more_once_type_or_parts_were_said_anew(anew: Document) -> None:
    wrong = [BORN, priced(1, price=price("9"), payment_plans=[once("9")]), priced(2, type="free")]
    before = arrived(*wrong)
    assert before["pricing"] == {"type": "free"}
    assert before["state"]["aside"].keys() == {"price", "payment_plans"}
    later = arrived(*wrong, priced(3, **anew))
    assert later["without_effect"] is None
    assert "aside" not in later["state"]
    if anew.keys() == {"type"}:
        shown = {"price": {"amount": 9.0, "currency": "EUR"}, "payment_plans": [{**once("9"), "price": 9.0}]}
        assert later["pricing"] == {**anew, **shown}
    assert encoded(content(later)) == encoded(content(folded(*wrong, priced(3, **anew))))


def test_one_that_comes_late_and_was_said_before_shows_the_price_again() -> None:
    """The type `free` was the last word only as long as nothing later was known."""
    wrong = [BORN, priced(9, type="paid"), priced(5, price=price("0"))]
    assert arrived(*wrong)["pricing"] == {"type": "paid"}
    late = arrived(*wrong, priced(7, price=price("3")))
    assert late["pricing"] == {"type": "paid", "price": {"amount": 3.0, "currency": "EUR"}}
    assert late["without_effect"] is None


def test_a_course_whose_creation_names_the_price_is_created_all_the_same() -> None:
    created = sent("course_created", 0, **CREATED, pricing={"type": "paid", "price": price("9")})
    course = folded(created, sent("course_submitted", 1), priced(2, type="free"))
    assert (course["status"], course["title"], course["created_at"]) == ("review", "Full Stack", moment(0))
    assert course["pricing"] == {"type": "free"}
    assert course["without_effect"] == one(created)


def test_a_further_creation_is_listed_once_for_the_step_that_it_is_not() -> None:
    again = sent("course_created", 1, **CREATED, pricing={"price": price("9")})
    course = folded(BORN, again, priced(2, type="free"))
    assert course["pricing"] == {"type": "free"}
    assert course["without_effect"]["latest"] == [entry(again, "created_already")]


def adopted(pricing: Document, at: float, place: int) -> StoredEvent:
    none = ("deleted_at", "published_at", "version", "last_updated", "next_update_scheduled")
    life = {"status": "draft", "created_at": moment(-9), "updated_at": moment(-8), "changelog": []}
    was = {"title": "Old", "instructor_id": ObjectId(TEACHER), "pricing": pricing}
    return opening({"content": was, "life": {**life, **dict.fromkeys(none)}}, at, place)


CONTRADICTION: Document = {
    "type": "free",
    "price": {"amount": 100.0},
    "payment_plans": [{"type": "one_time", "price": 0}],
    "campaign": 7,
}


def test_an_adopted_document_costs_what_the_platform_said_until_an_event_says_otherwise() -> None:
    opened = adopted(CONTRADICTION, 5, 1)
    course = COURSES.refold([opened], None, "live")
    assert (course["pricing"], course["without_effect"]) == (CONTRADICTION, None)

    for order in permutations([priced(6, type="paid"), priced(7, price=price("0")), priced(8, type="free")]):
        events = [opened, *(StoredEvent.from_document(event_of(each, n)) for n, each in enumerate(order, 2))]
        document: Document | None = None
        for first, end in pairwise(range(len(events) + 1)):
            document = stored_document(COURSES.fold(document, events[first:end], "live"))
        assert document is not None
        assert document["pricing"] == {
            "type": "free",
            "price": {"amount": 0.0, "currency": "EUR"},
            "campaign": 7,
        }
        assert document["without_effect"] == {
            "total": 1,
            "reasons": {REASON: 1},
            "latest": [
                {
                    "event_id": opened.event_id,
                    "event_type": "opening",
                    "occurred_at": moment(5),
                    "reason": REASON,
                }
            ],
        }


_ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 1),
    st.floats(),
    st.sampled_from(
        ["0", "5", Decimal128("0.00"), Decimal128("1E-3000"), Decimal128("sNaN"), ObjectId(TEACHER)]
    ),
)
_COST = st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(["one_time", "installments", "barter", [], None]), "amount": _ANY}
) | st.fixed_dictionaries(
    {"type": st.sampled_from(["one_time", "installments", {}])},
    optional={"price": _ANY, "price_per_installment": _ANY},
)
_THEIRS = st.one_of(_ANY, _COST, st.lists(_ANY | _COST, max_size=3))


@given(st.sampled_from(["free", "paid", "premium"]), _THEIRS, _THEIRS)
@example("paid", {"amount": Decimal128("0")}, [])
@example("free", {"amount": Decimal128("1E-3000")}, [{}])
def test_whatever_an_adopted_document_holds_is_judged_by_the_same_rule(
    kind: str, one_part: Any, other: Any
) -> None:
    """The second implementation says the same, and neither fails."""
    theirs = {"type": "gratis", "price": one_part, "payment_plans": other}
    course = COURSES.refold(
        [adopted(theirs, 5, 1), StoredEvent.from_document(event_of(priced(6, type=kind), 2))], None, "live"
    )
    refused = {name for name in ("price", "payment_plans") if contradicts(kind, theirs[name])}
    shown = {name for name, each in theirs.items() if each is not None and name not in refused}
    assert course["pricing"].keys() == shown
    assert refused_by_reason(course) == ({REASON: 1} if refused else {})


def test_a_versions_snapshot_shows_what_the_course_did_and_its_changes_follow() -> None:
    def version_created(at: float, label: str) -> Document:
        return sent("course_version_created", at, **version(label))

    events = [
        BORN,
        priced(1, type="paid", price=price("9")),
        version_created(2, "1"),
        priced(3, type="free"),
        version_created(4, "2"),
        priced(5, type="subscription"),
        version_created(6, "3"),
    ]
    history, versions = told(*events)
    costs = {"price": {"amount": 9.0, "currency": "EUR"}}
    assert [versions[label]["course_snapshot"]["pricing"] for label in "123"] == [
        {"type": "paid", **costs},
        {"type": "free"},
        {"type": "subscription", **costs},
    ]
    changes = [
        [(each["action"], each["path"]) for each in versions[label]["changes"]["detailed_changes"]]
        for label in "23"
    ]
    assert changes == [
        [("update", "pricing.type"), ("remove", "pricing.price")],
        [("update", "pricing.type"), ("add", "pricing.price")],
    ]
    assert history["without_effect"] is None, "what a price has no effect on is the course's to say"
    assert COURSE_VERSIONS.version == 2


Damage = Callable[[Document], Any]


@pytest.mark.parametrize(
    "damage",
    [
        lambda course: course["pricing"].update(price={"amount": 9.0, "currency": "EUR"}),
        lambda course: course.update(pricing=None),
        lambda course: course.update(pricing="9 EUR"),
    ],
)
def test_a_document_that_somebody_wrote_to_is_still_folded_on(damage: Damage) -> None:
    course = arrived(BORN, priced(1, price=price("3")), priced(2, type="free"))
    damage(course)
    [*_, again] = story([BORN, BORN, BORN, priced(4, type="paid")])
    assert COURSES.fold(course, [again], "live")["pricing"]["price"]["amount"] == 3.0


def test_the_oracle_lists_the_same() -> None:
    events = [BORN, priced(1, price=price("3"), payment_plans=[once("3")]), priced(2, type="free")]
    expected = expected_course(stored(events))
    assert expected["without_effect"] == folded(*events)["without_effect"] == one(events[1])
    assert expected["pricing"] == {"type": "free"}
