"""What `check-upcasters` says of one stored event, by a family of two versions."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from tests.integration.verify.history import START, stored_events
from tests.support.two_versions import NEW, OLD, PATHS, TWO_VERSIONS, done_becomes_handed_in, quiz
from worker.contract.family import LEARNER
from worker.contract.upcasters import Upcasters
from worker.storage.documents import void_document
from worker.verify.upcasting import Contract, Problem, Sort, is_checked, problem_of, sort_of


def _by(upcaster: Any) -> Contract:
    return replace(TWO_VERSIONS, upcasters=MappingProxyType({OLD: upcaster}))


def test_events_of_both_versions_can_be_read() -> None:
    assert problem_of(quiz("ann", 1, OLD), TWO_VERSIONS) is None
    assert problem_of(quiz("ann", 2, NEW), TWO_VERSIONS) is None
    assert sort_of(quiz("ann", 1, OLD), TWO_VERSIONS) == Sort("quizzes", "quiz_done", 1)


def test_every_event_of_today_s_contract_can_be_read() -> None:
    assert {problem_of(each, Contract()) for each in stored_events("ann", range(1, 13))} == {None}


@pytest.mark.parametrize(
    ("details", "problem"),
    [
        ({"points": 3, "most": 0}, ("upcaster_raised", "", "ZeroDivisionError for the event's record")),
        ({"points": 3}, ("upcaster_raised", "", "KeyError for the event's record")),
        (
            {"points": 9, "most": 4},
            ("invalid_field", "details.score", "must be 100 or less"),
        ),
    ],
)
def test_an_event_that_the_change_has_forgotten_is_found(
    details: dict[str, Any], problem: tuple[str, str, str]
) -> None:
    found = problem_of(quiz("ann", 1, OLD, **details), TWO_VERSIONS)
    assert found == Problem(*problem)


def test_a_type_that_nobody_renamed_is_found() -> None:
    found = problem_of(quiz("ann", 1, OLD), _by(dict))
    assert found == Problem("unknown_event_type", "event_type", "is not an event type of the contract")


def test_a_version_of_newer_code_is_found_after_a_roll_back() -> None:
    before: Upcasters = MappingProxyType({})
    found = problem_of(quiz("ann", 1, NEW), replace(TWO_VERSIONS, upcasters=before))
    assert found is not None
    assert found.reason == "unsupported_version"


def test_a_stream_of_no_family_is_found() -> None:
    other = {**quiz("ann", 1), "stream_id": f"content_{'a' * 24}"}
    found = problem_of(other, TWO_VERSIONS)
    assert (found and found.reason, sort_of(other, TWO_VERSIONS).family) == ("unknown_family", "(unknown)")


def test_an_upcaster_that_looks_into_an_id_reads_two_events_in_one() -> None:
    """On the wire ids are texts, in the store they are not: a step may move them, and must not look inside."""

    def looks_inside(old: Mapping[str, Any]) -> dict[str, Any]:
        new = done_becomes_handed_in(old)
        return {**new, "details": {**new["details"], "by": str(type(old["user_id"]).__name__)}}

    found = problem_of(quiz("ann", 1), _by(looks_inside))
    assert found is not None
    assert (found.reason, found.field) == ("readers_disagree", "details.by")


def test_an_upcaster_that_fails_on_the_stored_form_alone_is_found() -> None:
    def wants_text(old: Mapping[str, Any]) -> dict[str, Any]:
        return {**done_becomes_handed_in(old), "user_id": old["user_id"].lower()}

    found = problem_of(quiz("ann", 1), _by(wants_text))
    assert found == Problem("upcaster_raised", message="AttributeError for the event as it is stored")


@pytest.mark.parametrize(
    ("left_out", "problem"),
    [
        ("most", Problem("folds_read_less", message="KeyError with the details that folds read")),
        (
            "bonus",
            Problem(
                "folds_read_less",
                "details.score",
                "an upcaster needs details that folds do not read: name them in DETAILS_READ",
            ),
        ),
    ],
)
def test_an_upcaster_that_needs_what_folds_do_not_read_is_found(left_out: str, problem: Problem) -> None:
    """A fold reads some details only: the check reads them all."""

    def with_bonus(old: Mapping[str, Any]) -> dict[str, Any]:
        new = done_becomes_handed_in(old)
        bonus = new["details"].pop("bonus", 0)
        return {**new, "details": {**new["details"], "score": new["details"]["score"] + bonus}}

    paths = tuple(path for path in PATHS if not path.endswith(left_out))
    contract = replace(_by(with_bonus), event_paths={LEARNER: (paths,)})
    assert problem_of(quiz("ann", 1, points=3, most=4, bonus=5), contract) == problem


def test_events_of_the_workers_own_and_sealed_ones_have_no_contract_to_check() -> None:
    assert not is_checked(void_document(quiz("ann", 1)["stream_id"], 2, START))
    assert not is_checked({**quiz("ann", 1), "key_id": "k1"})


def test_what_cannot_be_an_event_is_named_as_such() -> None:
    odd = {**quiz("ann", 1), "event_type": "Somebody's text", "metadata": None}
    found = problem_of(odd, TWO_VERSIONS)
    assert found is not None
    assert (found.reason, sort_of(odd, TWO_VERSIONS).event_type) == ("not_an_event", "(unknown)")
