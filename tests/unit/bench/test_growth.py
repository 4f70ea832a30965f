"""What ingest keeps of its rate in a store that has grown is held against what the limit keeps."""

import pytest

from bench.growth import Grown
from bench.parts import growth_measured
from tests.unit.bench.runs import run
from worker.errors import Fatal


def grown(last_of_ingest: float, last_of_limit: float, wrong: str = "") -> list[Grown]:
    return [
        Grown(100_000, run("ours: ingest", 10_000.0), run("limit", 20_000.0)),
        Grown(3_000_000, run("ours: ingest", last_of_ingest), run("limit", last_of_limit, wrong=wrong)),
    ]


def test_who_keeps_as_much_as_the_limit_keeps_all() -> None:
    assert growth_measured(grown(5_000.0, 10_000.0)).figure.median == pytest.approx(1.0)


def test_what_is_lost_beyond_the_limit_is_said() -> None:
    measured = growth_measured(grown(4_000.0, 16_000.0))
    assert measured.figure.median == pytest.approx(0.5)
    assert measured.limits.startswith("ingest keeps 0.4, the limit 0.8: of 250 µs an event")


def test_a_run_that_left_something_wrong_gives_no_figure() -> None:
    with pytest.raises(Fatal, match="one is missing"):
        growth_measured(grown(5_000.0, 10_000.0, wrong="one is missing"))
