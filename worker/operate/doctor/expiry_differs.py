"""Something is kept longer, or shorter, than the settings say."""

from worker.operate.doctor.finding import MONGODB, Finding, Severity
from worker.operate.doctor.schema_differences import is_duration, looking_for

EXPIRY_DIFFERS = Finding(
    name="expiry_differs",
    severity=Severity.WARNING,
    needs=MONGODB,
    means="Something is kept longer, or shorter, than the settings of retention say.",
    fix="Run `sevenp-worker schema apply` with the settings that are meant, which changes it in place.",
    look=looking_for(is_duration),
)
