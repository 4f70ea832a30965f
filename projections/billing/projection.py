"""The value that registers `billing`: a transaction's row, whether an enrolment or a billing event named it."""

from typing import Final

from projections.billing.document import BillingTransaction
from projections.billing.fold import BILLING_VERSION, DETAILS, FOLD, begun
from projections.billing.transaction import REASONS
from projections.event import read_paths
from projections.kinds import StreamProjection, Target
from projections.streams import IDENTITY_PATHS

BILLING: Final = StreamProjection(
    name="billing",
    version=BILLING_VERSION,
    about=("transaction",),
    target=Target(collection="billing_transactions", shapes=(BillingTransaction,)),
    paths=(
        *IDENTITY_PATHS,
        "event_id",
        "user_id",
        "course_id",
        "amount",
        "currency",
        "payment_method",
        "transaction_id",
        "status",
        "created_at",
        "updated_at",
        "completed_at",
        "refunded_amount",
        "refunds",
        "instalments",
        "failures",
        "without_effect",
        "state",
    ),
    fold=FOLD.fold,
    refold=FOLD.refold,
    event_paths=read_paths(DETAILS),
    begun=begun,
    reasons=REASONS,
    yields_to="transaction_id",
)
