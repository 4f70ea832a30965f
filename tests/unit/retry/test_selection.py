"""Equal failures are one line, and an id is found however it is stored."""

from datetime import UTC, datetime, timedelta

from bson import ObjectId

from worker.retry.operate import item_fingerprint
from worker.retry.selection import Entry, Selection, grouped, identities

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def entry(name: str, fingerprint: str, minute: int) -> Entry:
    return Entry(name, fingerprint, "reason", "message", NOON + timedelta(minutes=minute), {})


def test_groups_are_counted_and_the_largest_comes_first() -> None:
    groups = grouped([entry("a", "f", 3), entry("b", "g", 1), entry("c", "f", 2), entry("d", "f", 9)])
    assert [(group.fingerprint, group.count, group.example) for group in groups] == [
        ("f", 3, "c"),
        ("g", 1, "b"),
    ]
    assert (groups[0].oldest, groups[0].newest) == (NOON + timedelta(minutes=2), NOON + timedelta(minutes=9))


def test_failures_in_one_place_of_the_code_have_one_fingerprint() -> None:
    item = {
        "event_type": "progress_fold",
        "error_class": "KeyError",
        "last_error": "KeyError in fold (a.py:3)",
    }
    same = {**item, "stream_id": "another", "version": 9}
    assert item_fingerprint(item) == item_fingerprint(same)
    assert item_fingerprint(item) != item_fingerprint({**item, "last_error": "KeyError in fold (a.py:4)"})
    assert len(item_fingerprint({})) == 16


def test_a_selection_knows_that_it_leaves_nothing_out() -> None:
    assert Selection().everything
    for narrower in (Selection(ids=("a",)), Selection(reason="r"), Selection(since=NOON), Selection(limit=1)):
        assert not narrower.everything


def test_an_id_of_24_digits_is_looked_for_as_both_things_it_can_be() -> None:
    name = "5f1d7f3e9d1c4b0001a0c001"
    assert identities([name, "progress:x"]) == [name, ObjectId(name), "progress:x"]
