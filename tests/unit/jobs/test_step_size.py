"""How large steps become on machines that take longer or shorter for what they are given."""

from random import Random
from statistics import mean

import pytest

from worker.jobs.step_size import StepSize

LONGEST_S, MOST = 0.2, 500


class Machine:
    """Shows a step after a `way_s` of its own, and so much more for each event."""

    def __init__(self, way_s: float, each_s: float) -> None:
        self.way_s, self.each_s = way_s, each_s
        self.size = StepSize(LONGEST_S, MOST)

    def steps(self, number: int) -> list[int]:
        """So many steps; how large each was."""
        sizes = []
        for _ in range(number):
            events = self.size.events
            self.size.took(events, self.way_s + events * self.each_s)
            sizes.append(events)
        return sizes

    def settled(self) -> int:
        """The largest of the steps that it comes to."""
        return max(self.steps(60)[40:])


@pytest.mark.parametrize("each_s", [0.001, 0.004, 0.01])
@pytest.mark.parametrize(("way_s", "added_s"), [(0.1, 0.025), (0.3, 0.075), (0.6, 0.15), (3.0, 0.2)])
def test_steps_come_to_a_size_that_adds_a_quarter_of_the_way_at_most(
    way_s: float, added_s: float, each_s: float
) -> None:
    assert Machine(way_s, each_s).settled() == pytest.approx(added_s / each_s + 1, rel=0.3)


def test_steps_shrink_when_the_machine_has_much_to_do_and_grow_when_it_has_not() -> None:
    machine = Machine(0.6, 0.004)
    assert machine.settled() > 30
    machine.each_s = 0.04
    assert machine.settled() <= 7
    machine.each_s = 0.004
    assert machine.settled() > 30


def test_a_way_that_is_longer_for_a_while_makes_steps_small_at_once() -> None:
    machine = Machine(0.6, 0.004)
    assert machine.settled() > 30
    machine.way_s = 1.5
    assert machine.steps(6)[-1] <= 8


def test_a_way_that_has_become_longer_for_good_is_learned() -> None:
    machine = Machine(0.6, 0.004)
    machine.settled()
    machine.way_s = 1.2
    machine.steps(200)
    assert machine.settled() == pytest.approx(50, rel=0.2)


def test_a_step_of_one_event_comes_first_and_from_time_to_time() -> None:
    sizes = Machine(0.1, 0.004).steps(103)
    assert sizes[0] == sizes[51] == sizes[102] == 1
    assert 1 not in sizes[1:51]


def test_a_step_is_never_empty_nor_larger_than_it_may_be() -> None:
    slow = Machine(0.1, 5.0)
    assert set(slow.steps(50)[10:]) == {1, 2}
    fast = Machine(0.1, 0.0)
    assert max(fast.steps(50)) == MOST


def test_a_last_step_of_a_page_says_nothing_of_larger_ones() -> None:
    size = StepSize(LONGEST_S, MOST)
    size.took(1, 0.1)
    first = size.events
    size.took(2, 0.1)
    assert size.events == first
    size.took(2, 5.0)
    assert size.events < first


@pytest.mark.parametrize("seed", range(5))
def test_ways_of_different_lengths_do_not_keep_steps_small(seed: int) -> None:
    random = Random(seed)  # noqa: S311  # how long ways are, not a secret
    machine = Machine(0.1, 0.003)
    sizes = []
    for _ in range(400):
        machine.way_s = 0.08 + random.expovariate(1 / 0.03)
        sizes += machine.steps(1)
    assert mean(sizes[100:]) >= 5.5
