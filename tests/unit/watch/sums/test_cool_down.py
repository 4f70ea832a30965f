"""How often a document that others go on overwriting is summed."""

from itertools import pairwise

from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from tests.support.counts import dirty_keys
from worker.settings import CoolDownSettings
from worker.watch.sums.attempt import Keys
from worker.watch.sums.cool_down import _KEPT, CoolDown

RHYTHM = CoolDownSettings(at_most_every_s=5.0, turns=12, then_every_s=60.0)
COURSE = ObjectId(b"c" * 12)
OTHER = ObjectId(b"o" * 12)


def token(number: int) -> dict[str, str]:
    return {"_data": f"{number:08x}"}


def overwritten(*courses: ObjectId) -> Keys:
    return dirty_keys(courses=frozenset(courses))


def test_a_document_is_summed_at_once_when_somebody_writes_to_it() -> None:
    cool_down = CoolDown(RHYTHM, at_once="learner")
    assert cool_down.admit(overwritten(COURSE), token(1), 100.0) == overwritten(COURSE)


def test_a_second_write_is_answered_five_seconds_after_the_first_and_no_write_is_needed_for_it() -> None:
    cool_down = CoolDown(RHYTHM, at_once="learner")
    cool_down.admit(overwritten(COURSE), token(1), 100.0)
    assert cool_down.admit(overwritten(COURSE), token(2), 100.5) == dirty_keys()
    assert cool_down.admit(dirty_keys(), token(3), 104.9) == dirty_keys()
    assert cool_down.admit(dirty_keys(), token(4), 105.0) == overwritten(COURSE)
    assert cool_down.admit(dirty_keys(), token(5), 200.0) == dirty_keys()


def test_a_document_overwritten_without_a_pause_is_summed_every_five_seconds_and_later_every_minute() -> None:
    cool_down = CoolDown(RHYTHM, at_once="learner")
    summed = [at for at in range(3_600) if len(cool_down.admit(overwritten(COURSE), token(at), float(at)))]
    steps = [after - before for before, after in pairwise(summed)]
    assert steps[:10] == [5] * 10
    assert set(steps[20:]) == {60}
    assert min(steps) == 5


def test_a_document_written_once_a_minute_is_always_answered_at_once() -> None:
    cool_down = CoolDown(RHYTHM, at_once="learner")
    for at in range(0, 36_000, 60):
        assert len(cool_down.admit(overwritten(COURSE), token(at), float(at))) == 1


def test_one_that_waits_holds_up_neither_other_documents_nor_learners() -> None:
    cool_down = CoolDown(RHYTHM, at_once="learner")
    cool_down.admit(overwritten(COURSE), token(1), 100.0)
    learners = frozenset({OTHER})
    dirty = dirty_keys(learners=learners, courses=frozenset({COURSE, OTHER}), users=frozenset({COURSE}))
    assert cool_down.admit(dirty, token(2), 101.0) == dirty_keys(
        learners=learners, courses=frozenset({OTHER}), users=frozenset({COURSE})
    )


def test_the_token_stays_before_the_change_of_the_one_that_waits_longest() -> None:
    cool_down = CoolDown(RHYTHM, at_once="learner")
    cool_down.admit(overwritten(COURSE, OTHER), token(1), 100.0)
    assert cool_down.token_up_to(token(2)) == token(2)
    cool_down.admit(overwritten(COURSE), token(2), 101.0)
    cool_down.admit(overwritten(OTHER, COURSE), token(3), 102.0)
    assert cool_down.token_up_to(token(4)) == token(2)
    cool_down.admit(dirty_keys(), token(4), 105.0)
    assert cool_down.token_up_to(token(5)) == token(5)


def test_a_stream_opened_again_tells_of_those_that_waited() -> None:
    cool_down = CoolDown(RHYTHM, at_once="learner")
    cool_down.admit(overwritten(COURSE), token(1), 100.0)
    cool_down.admit(overwritten(COURSE), token(2), 101.0)
    cool_down.forget_waiting()
    assert cool_down.token_up_to(token(3)) == token(3)
    assert cool_down.admit(dirty_keys(), token(3), 106.0) == dirty_keys()
    assert cool_down.admit(overwritten(COURSE), token(2), 107.0) == overwritten(COURSE)


def test_more_documents_than_are_remembered_are_summed_and_none_is_lost() -> None:
    cool_down = CoolDown(RHYTHM, at_once="learner")
    many = frozenset(ObjectId(f"{number:024x}") for number in range(2 * _KEPT))
    assert len(cool_down.admit(dirty_keys(users=many), token(1), 100.0)) == 2 * _KEPT
    at_once = len(cool_down.admit(dirty_keys(users=many), token(2), 101.0))
    assert at_once >= _KEPT
    assert at_once + len(cool_down.admit(dirty_keys(), token(3), 106.0)) == 2 * _KEPT


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=300))
def test_every_write_is_followed_by_a_sum_within_a_minute_and_sums_keep_their_distance(
    turns: list[tuple[int, bool]],
) -> None:
    cool_down, now = CoolDown(RHYTHM, at_once="learner"), 0.0
    summed: list[float] = []
    unanswered: float | None = None
    for wait, written in [*turns, (60, False)]:
        now += wait
        if written and unanswered is None:
            unanswered = now
        if len(cool_down.admit(overwritten(COURSE) if written else dirty_keys(), token(0), now)):
            assert not summed or now - summed[-1] >= RHYTHM.at_most_every_s
            summed.append(now)
            unanswered = None
        assert unanswered is None or now - unanswered <= RHYTHM.then_every_s
    assert unanswered is None


def test_a_rhythm_that_earns_turns_as_fast_as_they_are_taken_never_slows_down() -> None:
    """As the views of a read model have it."""
    steady = CoolDown(CoolDownSettings(at_most_every_s=2.0, turns=2, then_every_s=2.0))
    built = [at for at in range(3_600) if len(steady.admit(overwritten(COURSE), token(at), float(at)))]
    assert {after - before for before, after in pairwise(built)} == {2}
