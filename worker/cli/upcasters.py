"""`sevenp-worker check-upcasters`: whether this code can read every event that is stored."""

from typing import Any

from worker.cli import help as text
from worker.cli.foreground import asked, print_rest, run_in_foreground
from worker.cli.options import JsonFlag
from worker.cli.selecting import selecting
from worker.cli.tables import print_table
from worker.jobs.check_upcasters import CHECK_UPCASTERS, CheckUpcasters
from worker.jobs.runner import Result
from worker.storage.stream_selection import StreamSelection

EPILOG = text.page(
    text.examples(
        "sevenp-worker check-upcasters                  before a new contract is deployed",
        "sevenp-worker check-upcasters --course COURSE --json",
        "sevenp-worker check-upcasters --type quiz_submitted",
    ),
    text.settings(*text.MONGODB, "jobs_", "operator"),
    text.exit_codes(),
)


@selecting
def check_upcasters(selection: StreamSelection, as_json: JsonFlag = False) -> None:
    """Run every stored event through the contract of this code, and show what would fail. Changes nothing.

    Each event is decoded as its record would be if it came again, and read as folds read it; both must agree. Ends
    with 1 when an event would fail. It goes on where it was interrupted.
    """
    run_in_foreground(CHECK_UPCASTERS, asked(CheckUpcasters, of=selection), as_json=as_json, show=_print)


def _print(result: Result) -> None:
    """Counts, then events by kind, then what would fail with an event for example."""
    outcome: dict[str, Any] = dict(result.run.outcome or {})
    events, failures = outcome.pop("events", []), outcome.pop("failures", [])
    print_rest(result, outcome)
    rows = [(*_kind(each), f"{each['events']:,}", f"{each['failed']:,}") for each in events]
    print_table(rows, ("family", "event type", "schema version", "events", "failed"))
    columns = ("event type", "schema version", "failed", "reason", "field", "message", "for example")
    print_table([_failure(each) for each in failures], columns, empty="Every event can be read.")


def _kind(each: dict[str, Any]) -> tuple[str, str, str]:
    return each["family"], each["event_type"], str(each["schema_version"])


def _failure(each: dict[str, Any]) -> tuple[str, ...]:
    example = each["samples"][0]["event"] if each["samples"] else ""
    number, why = f"{each['events']:,}", (each["reason"], each["field"], each["message"])
    return (*_kind(each)[1:], number, *why, example)
