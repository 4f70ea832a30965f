"""What a job says of itself where there is no terminal."""

import pytest

from tests.support.clocks import ManualClock
from worker.cli.bar import Sentences, left
from worker.jobs.context import Progress


def test_a_sentence_every_ten_seconds_and_at_once_when_it_waits(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock()
    sentences = Sentences("rebuild-progress", clock)

    def told(seconds: float, progress: Progress) -> str:
        clock.advance(seconds)
        sentences.tell(progress)
        return capsys.readouterr().err

    # A run that goes on: what was done before says nothing about how fast it is.
    assert told(0, Progress(100_000, 500_000)) == ""
    assert told(5, Progress(110_000, 500_000)) == ""
    assert told(5, Progress(120_000, 500_000)) == (
        "sevenp-worker: rebuild-progress: 120,000 of 500,000 done, 2,000 a second, about 3 minutes left\n"
    )
    paused = Progress(120_000, 500_000, waits="paused by anna@ops-1")
    assert told(1, paused).endswith(", paused by anna@ops-1\n")
    assert told(1, paused) == ""
    assert "paused" not in told(1, Progress(120_000, 500_000))
    sentences = Sentences("count", clock)
    assert told(10, Progress(7)) == "sevenp-worker: count: 7 done\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (1, "1 second"), (80, "80 seconds"), (100, "2 minutes"), (7_300, "2 hours")],
)
def test_times_to_come_are_told_in_the_largest_unit_that_gives_two(seconds: float, words: str) -> None:
    assert left(seconds) == words
