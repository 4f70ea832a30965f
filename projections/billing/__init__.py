"""The `billing` projection: a transaction's events become its row, decided in the order in which they happened."""

from projections.billing.fold import BILLING_VERSION
from projections.billing.projection import BILLING
from projections.billing.transaction import REASONS, Paid, Step, judged

__all__ = ["BILLING", "BILLING_VERSION", "REASONS", "Paid", "Step", "judged"]
