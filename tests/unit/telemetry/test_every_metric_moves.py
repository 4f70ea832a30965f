"""Each metric is seen to move by a scrape in some test; a new one that nobody moves is found here."""

import ast
from collections.abc import Iterator
from pathlib import Path

from worker.telemetry.metrics import declared_metrics

TESTS = Path(__file__).parents[2]
LOOKING = {"until_moved", "until_moved_at"}


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _names(text: str) -> Iterator[str]:
    """What a file of tests names in calls that scrape until it has moved."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and _called(node) in LOOKING:
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def test_every_metric_is_seen_to_move_and_none_that_does_not_exist() -> None:
    texts = [path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py")]
    named = {name for text in texts if "until_moved" in text for name in _names(text)}
    assert named == set(declared_metrics())
