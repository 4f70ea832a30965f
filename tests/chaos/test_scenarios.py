"""The records of the scenarios are what their ledger says, and every kind comes soon."""

from collections import Counter
from datetime import UTC, datetime
from itertools import islice

from tests.chaos.scenarios import BROKEN_LESSON, REFUSED_DEVICE, scenarios
from worker.contract.codec import decode_event
from worker.contract.event import Event
from worker.contract.rejection import RejectReason

SOME = 1_000
PUBLISHED = datetime(2026, 11, 25, tzinfo=UTC)


def test_the_same_seed_makes_the_same_and_another_seed_nothing_of_it() -> None:
    one, same, other = (list(islice(scenarios(seed), SOME)) for seed in (1, 1, 2))
    assert one == same
    assert not {step.entry.value for step in one} & {step.entry.value for step in other}


def test_every_kind_of_record_comes_soon() -> None:
    steps = list(islice(scenarios(5), SOME))
    kinds = Counter(each.entry.kind for each in steps)
    assert min(kinds[kind] for kind in ("ok", "duplicate", "conflict", "poison")) >= 3
    reasons = Counter(each.entry.reason for each in steps if each.entry.kind == "poison")
    assert reasons.keys() == {"not_utf8", "refused_by_store"}
    text = b"".join(each.entry.value for each in steps)
    assert all(word in text for word in (b"payment", str(BROKEN_LESSON).encode(), REFUSED_DEVICE.encode()))


def test_the_ledger_says_of_each_record_what_the_contract_says() -> None:
    first: dict[object, bytes] = {}
    for step in islice(scenarios(5), SOME):
        found = decode_event(step.entry.value, timestamp=PUBLISHED)
        assert step.record.value == step.entry.value
        if step.entry.reason == "not_utf8":
            assert not isinstance(found, Event)
            assert found.reason is RejectReason.NOT_UTF8
            continue
        assert isinstance(found, Event)
        assert (found.event_id, found.stream_id) == (step.entry.event_id, step.entry.stream_id)
        if found.event_id not in first:
            first[found.event_id] = step.entry.value
            assert step.entry.kind in ("ok", "poison")
        else:
            repeated = "duplicate" if first[found.event_id] == step.entry.value else "conflict"
            assert step.entry.kind == repeated
