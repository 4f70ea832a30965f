"""A validator is not the one made from the code's models."""

from worker.operate.doctor.finding import MONGODB, Finding, Severity
from worker.operate.doctor.schema_differences import looking_for

VALIDATOR_DIFFERS = Finding(
    name="validator_differs",
    severity=Severity.ERROR,
    needs=MONGODB,
    means="A validator is not this release's: the worker does not start, or others write what it cannot read.",
    fix="Run `sevenp-worker schema apply`, which replaces it in place.",
    look=looking_for(lambda each: each.what == "validator"),
)
