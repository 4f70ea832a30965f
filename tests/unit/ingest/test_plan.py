"""Which events are new, and which version each takes: decided from values, so tried on values."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ingest.samples import LEARNER, candidate, event_id, source
from worker.contract.rejection import RejectReason
from worker.ingest.plan import Known, Sorted, assign_versions, holes, sort_candidates, unlike
from worker.ingest.record import Candidate

A = b"a".ljust(32, b".")
B = b"b".ljust(32, b".")


def offsets(candidates: Iterable[Candidate]) -> list[int]:
    return [candidate.record.source.offset for candidate in candidates]


def outcome(found: Sorted) -> dict[str, list[int]]:
    """Offsets by what became of them, without the empty ones."""
    named = {
        "new": offsets(found.new),
        "redelivered": offsets(found.redelivered),
        "duplicates": offsets(found.duplicates),
        "conflicts": [dead_letter.record.source.offset for dead_letter in found.conflicts],
        "erased": offsets(found.erased),
    }
    return {name: places for name, places in named.items() if places}


# ---- sorting ----


def test_documents_are_looked_at_where_fingerprints_differ_and_nowhere_else() -> None:
    stored = {event_id(1): Known(A, source(1)), event_id(2): Known(B, source(2))}
    assert unlike([candidate(2, 9), candidate(1, 7), candidate(2, 8), candidate(3, 6)], stored) == [
        event_id(2)
    ]


def test_unknown_events_are_new_in_the_order_of_arrival() -> None:
    found = sort_candidates([candidate(2, 0), candidate(1, 1), candidate(3, 2)], {}, set())
    assert outcome(found) == {"new": [0, 1, 2]}


def test_a_stored_event_of_this_very_record_is_a_redelivery() -> None:
    stored = {event_id(1): Known(A, source(7))}
    assert outcome(sort_candidates([candidate(1, 7)], stored, set())) == {"redelivered": [7]}


def test_a_stored_event_of_another_record_is_a_duplicate() -> None:
    stored = {event_id(1): Known(A, source(3))}
    assert outcome(sort_candidates([candidate(1, 7)], stored, set())) == {"duplicates": [7]}


def test_the_same_offset_of_another_partition_is_another_record() -> None:
    stored = {event_id(1): Known(A, source(7, partition=1))}
    assert outcome(sort_candidates([candidate(1, 7)], stored, set())) == {"duplicates": [7]}


def test_other_content_under_a_stored_id_is_a_conflict_even_from_the_same_record() -> None:
    stored = {event_id(1): Known(B, source(7))}
    found = sort_candidates([candidate(1, 7), candidate(1, 8)], stored, set())
    assert outcome(found) == {"conflicts": [7, 8]}
    assert [dead_letter.rejected.reason for dead_letter in found.conflicts] == [RejectReason.CONFLICT] * 2
    assert [dead_letter.event_id for dead_letter in found.conflicts] == [event_id(1)] * 2


def test_of_equal_events_in_one_batch_the_first_is_new_and_the_others_are_duplicates() -> None:
    found = sort_candidates([candidate(1, 0), candidate(1, 1), candidate(1, 2)], {}, set())
    assert outcome(found) == {"new": [0], "duplicates": [1, 2]}


def test_of_two_contents_in_one_batch_the_first_wins() -> None:
    found = sort_candidates([candidate(1, 0, "a"), candidate(1, 1, "b"), candidate(1, 2, "a")], {}, set())
    assert outcome(found) == {"new": [0], "duplicates": [2], "conflicts": [1]}


def test_where_the_later_record_of_a_batch_is_the_stored_one_the_earlier_is_the_duplicate() -> None:
    stored = {event_id(1): Known(A, source(9))}
    found = sort_candidates([candidate(1, 4), candidate(1, 9)], stored, set())
    assert outcome(found) == {"duplicates": [4], "redelivered": [9]}


def test_an_erased_learner_is_skipped_whatever_is_stored() -> None:
    stored = {event_id(1): Known(A, source(0)), event_id(2): Known(B, source(5))}
    other = ObjectId()
    batch = [candidate(1, 0), candidate(2, 1), candidate(3, 2), candidate(4, 3, user_id=other)]
    assert outcome(sort_candidates(batch, stored, {LEARNER})) == {"erased": [0, 1, 2], "new": [3]}


def test_a_void_under_an_events_id_is_a_conflict() -> None:
    stored = {event_id(1): Known(b"", source(-1))}
    assert outcome(sort_candidates([candidate(1, 0)], stored, set())) == {"conflicts": [0]}


@given(
    batch=st.lists(st.tuples(st.integers(0, 4), st.sampled_from("ab")), max_size=12),
    known=st.dictionaries(
        st.integers(0, 4), st.tuples(st.sampled_from("ab"), st.integers(0, 20)), max_size=4
    ),
)
def test_every_candidate_has_exactly_one_outcome_and_an_id_is_new_at_most_once(
    batch: list[tuple[int, str]], known: dict[int, tuple[str, int]]
) -> None:
    stored = {
        event_id(number): Known(content.encode().ljust(32, b"."), source(offset))
        for number, (content, offset) in known.items()
    }
    candidates = [candidate(number, offset, content) for offset, (number, content) in enumerate(batch)]
    found = sort_candidates(candidates, stored, set())
    placed = [offset for places in outcome(found).values() for offset in places]
    new = [candidate.event.event_id for candidate in found.new]
    assert sorted(placed) == list(range(len(batch)))
    assert len(set(new)) == len(new)
    assert not set(new) & stored.keys()
    assert (
        sort_candidates(candidates, stored, set()) == found
    )  # the same for every batch that looks like this


# ---- versions ----


def test_versions_go_on_from_the_highest_stored() -> None:
    assert assign_versions(["s", "t", "s", "u"], {"s": 4, "t": 0}) == [5, 1, 6, 1]


def test_only_what_lies_below_a_taken_version_is_a_hole() -> None:
    planned = [("s", 3), ("s", 4), ("s", 5), ("t", 1), ("s", 6)]
    assert holes(planned, free={0, 2, 3, 4}, taken={1}) == [("s", 3)]
    assert holes(planned, free={0, 1, 2}, taken={4}) == [("s", 3), ("s", 4), ("s", 5)]
    assert holes(planned, free={0, 1, 2, 3, 4}, taken=set()) == []


@dataclass
class Store:
    """The event store as far as its unique keys go; `versions` maps (stream, version) to an event's id."""

    versions: dict[tuple[str, int], str] = field(default_factory=dict)

    def highest(self, stream: str) -> int:
        return max((version for name, version in self.versions if name == stream), default=0)

    def insert(self, key: tuple[str, int], name: str) -> str | None:
        """None, or the unique key that refused it; `_id` is looked at first, as the server does."""
        if name in self.versions.values():
            return "_id"
        if key in self.versions:
            return "version"
        self.versions[key] = name
        return None

    def dense(self) -> bool:
        streams = {stream for stream, _ in self.versions}
        return all(
            sorted(version for name, version in self.versions if name == stream)
            == list(range(1, self.highest(stream) + 1))
            for stream in streams
        )


@dataclass
class Writer:
    """Inserts as the worker does, around the two pure functions; its highest versions may be stale."""

    store: Store
    chance: random.Random
    refused: frozenset[str]

    def append(self, events: Sequence[tuple[str, str]], highest: dict[str, int]) -> list[tuple[str, str]]:
        """One round. Returns what met a taken id or version: to be sorted and tried again."""
        streams = [stream for stream, _ in events]
        planned = list(zip(streams, assign_versions(streams, highest), strict=True))
        failed = self._insert(planned, [name for _, name in events])
        while self.chance.random() < 0.3:  # the answer was lost: the same plan again
            failed = self._insert(planned, [name for _, name in events])
        taken = {i for i, met in failed.items() if met != "refused"}
        stored = set(range(len(events))) - failed.keys()
        open_versions = {i for i, met in failed.items() if met != "version"}
        for hole in holes(planned, open_versions, taken | stored):
            self._race(hole[0])
            self.store.insert(hole, f"void {hole}")
        return [events[i] for i in sorted(taken)]

    def _insert(self, planned: Sequence[tuple[str, int]], names: Sequence[str]) -> dict[int, str]:
        """What failed, by index, and why."""
        failed = {}
        for index, name in enumerate(names):
            self._race(planned[index][0])
            met = "refused" if name in self.refused else self.store.insert(planned[index], name)
            if met is not None:
                failed[index] = met
        return failed

    def _race(self, stream: str) -> None:
        """Another writer takes the next version, as every writer does; at times with an event that we have, too."""
        if self.chance.random() < 0.2:
            version = self.store.highest(stream) + 1
            name = self.chance.choice([f"other {stream} {version}", str(self.chance.randrange(31))])
            if name not in self.refused:
                self.store.insert((stream, version), name)


@settings(max_examples=300)
@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from("stu"), st.integers(0, 30)), min_size=1, max_size=12), max_size=4
    ),
    refused=st.frozensets(st.integers(0, 30).map(str), max_size=8),
    seed=st.integers(0, 2**32),
)
def test_after_filling_there_is_never_a_hole_below_a_streams_highest_version(
    batches: list[list[tuple[str, int]]], refused: frozenset[str], seed: int
) -> None:
    store, chance = Store(), random.Random(seed)  # noqa: S311  # nothing secret: hypothesis chose the seed
    writer = Writer(store, chance, refused)
    stale = dict.fromkeys("stu", 0)
    for batch in batches:
        pending = [(stream, str(number)) for stream, number in batch]
        while pending:
            pending = writer.append(pending, stale)
            assert store.dense()
            stored = set(store.versions.values())
            pending = [(stream, name) for stream, name in pending if name not in stored]
            stale = {stream: store.highest(stream) for stream in "stu"}
        if chance.random() < 0.5:
            stale = {stream: max(0, top - chance.randrange(3)) for stream, top in stale.items()}
    names = list(store.versions.values())
    wanted = {str(number) for batch in batches for _, number in batch}
    assert len(names) == len(set(names))
    assert wanted - refused <= set(names)
    assert not refused & set(names)
