"""A rejection says what is wrong in a producer's words, not in those of the library that found it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from worker.contract.codec import decode_event
from worker.contract.rejection import Rejected

EXAMPLES = Path(__file__).parents[3] / "docs/examples/events.jsonl"
WRONG: tuple[Any, ...] = (None, "", "x" * 5_000, -1, 1e9, True, [], {}, 0.5)
FOREIGN = (
    "Input should",
    "String should",
    "Field required",
    "not permitted",
    "instance of",
    "dictionary",
    "match ",
)


def _damaged(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The event with each of its fields taken out, or made something else, and one that nobody knows."""
    yield {**event, "stranger": 1}
    for name, value in event.items():
        yield {key: kept for key, kept in event.items() if key != name}
        yield from ({**event, name: wrong} for wrong in WRONG)
        if isinstance(value, dict):
            yield from ({**event, name: inner} for inner in _damaged(value))


@pytest.mark.parametrize("line", EXAMPLES.read_text().splitlines())
def test_no_rejection_has_a_librarys_words(line: str) -> None:
    outcomes = [
        decode_event(json.dumps(event).encode(), timestamp=datetime.now(UTC))
        for event in _damaged(json.loads(line))
    ]
    messages = {outcome.message for outcome in outcomes if isinstance(outcome, Rejected)}
    assert messages
    assert [message for message in messages if any(word in message for word in FOREIGN)] == []
