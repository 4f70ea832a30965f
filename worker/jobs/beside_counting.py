"""What jobs that count work with: as live counting does, beside it, and with more patience."""

from worker.jobs.context import JobContext
from worker.storage.transactions import Transactions
from worker.watch.sums.runner import Dependencies

# The live role may hold the same courses for seconds, again and again.
_PATIENCE_S = 20.0


def beside_counting(context: JobContext, transactions: Transactions, *, trial: bool = False) -> Dependencies:
    """Of a run; `trial`: what each transaction would do is seen, and given up."""
    return Dependencies(
        context.database,
        transactions,
        context.clock,
        context.metrics,
        context.keep_alive,
        context.settings.counts.code_version,
        trial=trial,
        patience_s=_PATIENCE_S,
    )
