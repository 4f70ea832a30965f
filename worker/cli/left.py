"""What a repair did, and what it left as it is, with the reason."""

from worker.cli.foreground import print_result
from worker.cli.tables import print_table
from worker.jobs.runner import Result


def print_left(result: Result) -> None:
    """Counts and outcome, then what was found of which kind, then what is left and why."""
    outcome = dict(result.outcome)
    left, faults = outcome.pop("left", []), outcome.pop("faults", {})
    remedies = [(remedy, f"{number:,}") for remedy, number in outcome.pop("would_mend", {}).items()]
    print_result(Result(result.run.model_copy(update={"outcome": outcome}), already=result.already))
    found = [(kind, fault, f"{number:,}") for kind, each in faults.items() for fault, number in each.items()]
    print_table(found, ("kind", "fault", "number"))
    print_table(remedies, ("mended by", "findings"))
    rows = [(each["kind"], each["subject"], each.get("id", ""), each["reason"]) for each in left]
    print_table(rows, ("left as it is", "subject", "id", "what"))
