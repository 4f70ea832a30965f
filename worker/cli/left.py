"""What a repair did, and what it left as it is, with the reason."""

from typing import Any

from rich.console import Console

from worker.cli.foreground import print_rest
from worker.cli.tables import print_table
from worker.jobs.runner import Result
from worker.words import counted


def print_left(result: Result) -> None:
    """Counts and outcome, then what was found of which kind, then what is left and why."""
    outcome: dict[str, Any] = dict(result.outcome)
    left, faults = outcome.pop("left", []), outcome.pop("faults", {})
    remedies = [(remedy, f"{number:,}") for remedy, number in outcome.pop("would_mend", {}).items()]
    reasons = [
        (each["kind"], each["reason"], f"{each['number']:,}") for each in outcome.pop("left_by_reason", [])
    ]
    print_rest(result, outcome)
    found = [(kind, fault, f"{number:,}") for kind, each in faults.items() for fault, number in each.items()]
    print_table(found, ("kind", "fault", "number"))
    print_table(remedies, ("mended by", "findings"))
    print_table(reasons, ("left", "what", "number"))
    rows = [(each["kind"], each["subject"], each.get("id", ""), each["reason"]) for each in left]
    print_table(rows, ("left as it is", "subject", "id", "what"))
    if held_back := result.run.counts.get("held_back", 0):
        waited = counted(held_back, "notification")
        Console(highlight=False, soft_wrap=True).print(
            f"Held back now, though they had been waiting to be sent: {waited}. "
            "`sevenp-worker rebuild notifications --dry-run` shows how many there are, and --send RUN has them sent.",
            markup=False,
        )
