"""What happens around the learners is what its ledger says, on its topics, and every kind of it comes soon."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice

import pytest

from tests.chaos.platform_scenarios import everything, opening, platform_scenarios, registrations
from tests.chaos.steps import LEARNERS, OWN, PARTITIONS, Step
from worker.contract.codec import decode
from worker.contract.event import Event
from worker.contract.families import ALL_TYPES
from worker.contract.family import Inlet
from worker.contract.rejection import Rejected
from worker.contract.routes import USUAL_TOPICS, routes

SOME = 3_000
PUBLISHED = datetime(2026, 11, 29, tzinfo=UTC)
ROUTES = routes(USUAL_TOPICS)


def decoded(step: Step) -> Event | Rejected:
    (found,) = decode(step.entry.value, timestamp=PUBLISHED, route=ROUTES[step.topic])
    return found


def types_of(steps: Iterable[Step]) -> Counter[str]:
    found = (decoded(step) for step in steps if step.entry.kind == "ok")
    return Counter(event.event_type for event in found if isinstance(event, Event))


def test_the_same_seed_makes_the_same_and_another_seed_nothing_of_it() -> None:
    one, same, other = (list(islice(platform_scenarios(seed), SOME)) for seed in (1, 1, 2))
    assert one == same
    assert not {step.entry.value for step in one} & {step.entry.value for step in other}


@pytest.mark.parametrize("make", [opening, registrations, platform_scenarios])
def test_the_ledger_says_of_each_record_what_the_contract_says(
    make: Callable[[int], Iterator[Step]],
) -> None:
    known: dict[object, bytes] = {}
    for step in islice(make(5), SOME):
        found, entry = decoded(step), step.entry
        assert step.record.value == entry.value
        if entry.kind == "poison":
            assert isinstance(found, Rejected)
            assert found.reason.value == entry.reason
            continue
        assert isinstance(found, Event), found
        assert (found.event_id, found.stream_id) == (entry.event_id, entry.stream_id)
        if found.event_id not in known:
            known[found.event_id] = entry.value
            assert entry.kind == "ok"
        else:
            assert entry.kind == ("duplicate" if known[found.event_id] == entry.value else "conflict")


def test_all_families_come_soon_and_nearly_every_type_of_those_about_courses_and_accounts() -> None:
    steps = list(islice(everything(5), 2 * SOME))
    types = types_of(steps)
    families = {ALL_TYPES.by_name[each].name for each in types}
    assert families == {family.name for family in ALL_TYPES.families}
    missing = {
        name
        for name, family in ALL_TYPES.by_name.items()
        if family.inlet is not Inlet.INTERACTIONS and name not in types
    }
    assert missing == {
        "course_instructor_changed",
        "course_location_changed",
        "course_returned_to_draft",
        "course_restored",
        "contact_changed",
        "phone_verified",
        "two_factor_changed",
        "role_revoked",
        "account_status_changed",
    }


def test_every_topic_has_records_and_learners_have_at_least_half() -> None:
    topics = Counter(step.topic for step in islice(everything(5), SOME))
    assert topics.keys() == PARTITIONS.keys()
    assert topics[LEARNERS] >= SOME // 2
    assert topics[OWN] >= 10


def test_what_is_wrong_in_itself_comes_on_every_topic_of_the_platform() -> None:
    poison = [step for step in islice(platform_scenarios(5), SOME) if step.entry.kind == "poison"]
    reasons = {(step.topic, step.entry.reason) for step in poison}
    assert reasons == {
        (USUAL_TOPICS.content, "invalid_field"),
        (USUAL_TOPICS.accounts, "forbidden_field"),
        (USUAL_TOPICS.content, "unknown_event_type"),
    }
