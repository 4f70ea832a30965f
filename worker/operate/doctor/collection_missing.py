"""A collection that the worker needs is not there."""

from worker.operate.doctor.finding import MONGODB, Finding, Severity
from worker.operate.doctor.schema_differences import looking_for

COLLECTION_MISSING = Finding(
    name="collection_missing",
    severity=Severity.ERROR,
    needs=MONGODB,
    means="A collection that the worker needs is not there: it does not start.",
    fix="See whether SEVENP_DATABASE_PREFIX is right, then run `sevenp-worker schema apply`.",
    look=looking_for(lambda each: each.what == "collection"),
)
