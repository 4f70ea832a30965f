"""Labels of parts: whoever shares a key has the same one, after any changes, however they were batched."""

from itertools import count

from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.watch.contests.labels import labelled

_KEYS = st.lists(st.sampled_from("abcdefgh"), max_size=2, unique=True)
_CHANGES = st.lists(st.tuples(st.integers(0, 7), _KEYS, st.booleans()), max_size=30)

Kept = dict[int, tuple[list[str], ObjectId]]


def change(kept: Kept, changed: dict[int, list[str]], fresh: list[ObjectId]) -> None:
    """What a transaction notes: it reads the parts that the keys are in, and those that the changed ones were in."""
    keys = {key for some in changed.values() for key in some}
    read = {label for some, label in kept.values() if keys & {*some}}
    read |= {kept[each][1] for each in changed if each in kept}
    stay = [
        {"keys": some, "part": label}
        for each, (some, label) in kept.items()
        if label in read and each not in changed
    ]
    entries = [{"keys": some} for some in changed.values() if some]
    labels = labelled(entries, stay, anew=False, fresh=fresh.pop)
    for each, (some, label) in kept.items():
        kept[each] = some, labels.merged.get(label, label)
    for each, some in changed.items():
        kept.pop(each, None)
        if some:
            kept[each] = some, labels.of_key[some[0]]


def parts(kept: Kept) -> dict[str, set[ObjectId]]:
    found: dict[str, set[ObjectId]] = {}
    for some, label in kept.values():
        for key in some:
            found.setdefault(key, set()).add(label)
    return found


@given(_CHANGES)
@settings(max_examples=300, deadline=None)
def test_whoever_shares_a_key_has_the_same_label(changes: list[tuple[int, list[str], bool]]) -> None:
    numbers = count(1)
    kept: Kept = {}
    waiting: dict[int, list[str]] = {}
    for number, keys, now in [*changes, (0, [], True)]:
        waiting[number] = keys
        if now:
            fresh = [ObjectId(next(numbers).to_bytes(12)) for _ in range(20)]
            change(kept, waiting, fresh)
            waiting = {}
            assert all(len(labels) == 1 for labels in parts(kept).values())


def test_the_larger_part_keeps_its_label_and_anew_parts_that_meet_no_more_fall_apart() -> None:
    large, small, new = (ObjectId(number.to_bytes(12)) for number in (1, 2, 3))
    rows = [
        {"keys": ["a", "b"], "part": large},
        {"keys": ["b", "c"], "part": large},
        {"keys": ["x", "y"], "part": small},
    ]
    bridge = labelled([{"keys": ["c", "x"]}], rows, anew=False, fresh=lambda: new)
    assert (bridge.of_key, bridge.merged) == ({"c": large, "x": large}, {small: large})
    apart = [{"keys": ["a", "b"]}, {"keys": ["x", "y"]}]
    again = labelled(apart, [{**each, "part": large} for each in apart], anew=True, fresh=lambda: new)
    assert again.merged == {}
    assert {again.of_key["a"], again.of_key["x"]} == {large, new}
