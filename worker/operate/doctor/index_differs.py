"""An index has the name of one of ours, and does something else."""

from worker.operate.doctor.finding import MONGODB, Finding, Severity
from worker.operate.doctor.schema_differences import is_absent, is_index, looking_for

INDEX_DIFFERS = Finding(
    name="index_differs",
    severity=Severity.ERROR,
    needs=MONGODB,
    means="An index has the name of one that the worker needs, and does something else: the worker does not start.",
    fix="Drop it with dropIndex(), then run `sevenp-worker schema apply`.",
    look=looking_for(lambda each: is_index(each) and not is_absent(each)),
)
