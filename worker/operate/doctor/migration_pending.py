"""Documents of the release before have not been taken over."""

from worker.operate.doctor.finding import MONGODB, Finding, Severity
from worker.operate.doctor.schema_differences import looking_for

MIGRATION_PENDING = Finding(
    name="migration_pending",
    severity=Severity.WARNING,
    needs=MONGODB,
    means="Documents of a release that has watch_positions have not been taken over.",
    fix="Run `sevenp-worker schema apply` when no worker of that release runs any more.",
    look=looking_for(lambda each: each.what == "documents"),
)
