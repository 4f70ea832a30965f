"""A library that says the same thing with every attempt is heard once a minute."""

import logging

from worker.telemetry.repeats import FIELD, Repeats


def record(text: str, at: float, *arguments: object, level: int = logging.ERROR) -> logging.LogRecord:
    made = logging.LogRecord("aiokafka", level, __file__, 1, text, arguments, None)
    made.created = at
    return made


def test_equal_lines_of_a_library_are_one_a_minute_with_their_number() -> None:
    repeats = Repeats()
    passed = [
        one
        for tenth in range(1_300)  # a little more than two minutes
        if repeats.filter(one := record("Unable to connect to node %s", 1_000 + tenth / 10, 0))
    ]
    assert [getattr(one, FIELD, 0) for one in passed] == [0, 599, 599]


def test_lines_that_differ_in_anything_all_pass() -> None:
    repeats = Repeats()
    lines = [
        record("Joined group %s", 1.0, "a"),
        record("Joined group %s", 1.0, "b"),
        record("Joined group %s", 1.0, "a", level=logging.INFO),
    ]
    assert all(map(repeats.filter, lines))


def test_a_flood_of_lines_that_all_differ_takes_no_memory_without_end() -> None:
    repeats = Repeats()
    assert all(repeats.filter(record("line %s", 1.0, number)) for number in range(10_000))
    assert len(repeats._seen) <= 1_000  # noqa: SLF001


def test_a_line_whose_arguments_do_not_fit_costs_only_itself() -> None:
    assert Repeats().filter(record("%d records", 1.0, "many"))


def test_lines_of_our_own_always_pass() -> None:
    repeats = Repeats()
    ours = logging.LogRecord("worker", logging.INFO, __file__, 1, {"event": "started"}, (), None)
    assert repeats.filter(ours)
    assert repeats.filter(ours)
