"""What jobs that count work with: as live counting does, beside it, and with more patience."""

from projections.counts.projection import COUNTS
from worker.jobs.context import JobContext
from worker.jobs.selected import folding
from worker.storage.transactions import Transactions
from worker.watch.folds.refold import Refold
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
        revenue_currency=context.settings.counts.revenue_currency,
    )


def refold_for_counting(context: JobContext) -> Refold:
    """Brings back records that went back behind what was counted of them, for a run that counts."""
    source = next(each for each in context.database.catalogue.streams if each.name == COUNTS.source)
    return Refold(folding(context, source, context.settings.counts.code_version))
