"""An index is not there on which promises or queries rest."""

from worker.operate.doctor.finding import MONGODB, Finding, Severity
from worker.operate.doctor.schema_differences import is_absent, is_index, looking_for

INDEX_MISSING = Finding(
    name="index_missing",
    severity=Severity.ERROR,
    needs=MONGODB,
    means="An index is not there on which promises or queries rest: the worker does not start.",
    fix="Run `sevenp-worker schema apply`, which makes it.",
    look=looking_for(lambda each: is_index(each) and is_absent(each)),
)
