"""The records of the stories are what their ledger says, and every kind comes soon."""

from collections import Counter
from datetime import UTC, datetime
from itertools import islice

from tests.chaos.stories import BROKEN_LESSON, REFUSED_DEVICE, stories
from worker.contract.codec import decode
from worker.contract.event import Event, RejectReason

SOME = 1_000
PUBLISHED = datetime(2026, 11, 25, tzinfo=UTC)


def test_the_same_seed_tells_the_same_and_another_seed_nothing_of_it() -> None:
    one, same, other = (list(islice(stories(seed), SOME)) for seed in (1, 1, 2))
    assert one == same
    assert not {told.entry.value for told in one} & {told.entry.value for told in other}


def test_every_kind_of_record_comes_soon() -> None:
    told = list(islice(stories(5), SOME))
    kinds = Counter(each.entry.kind for each in told)
    assert min(kinds[kind] for kind in ("ok", "duplicate", "conflict", "poison")) >= 3
    reasons = Counter(each.entry.reason for each in told if each.entry.kind == "poison")
    assert reasons.keys() == {"not_utf8", "refused_by_store"}
    text = b"".join(each.entry.value for each in told)
    assert all(word in text for word in (b"payment", str(BROKEN_LESSON).encode(), REFUSED_DEVICE.encode()))


def test_the_ledger_says_of_each_record_what_the_contract_says() -> None:
    first: dict[object, bytes] = {}
    for told in islice(stories(5), SOME):
        found = decode(told.entry.value, timestamp=PUBLISHED)
        assert told.record.value == told.entry.value
        if told.entry.reason == "not_utf8":
            assert not isinstance(found, Event)
            assert found.reason is RejectReason.NOT_UTF8
            continue
        assert isinstance(found, Event)
        assert (found.event_id, found.stream_id) == (told.entry.event_id, told.entry.stream_id)
        known = first.setdefault(found.event_id, told.entry.value)
        repeated = {True: "duplicate", False: "conflict"}[known == told.entry.value]
        assert told.entry.kind in (("ok", "poison") if known is told.entry.value else (repeated,))
