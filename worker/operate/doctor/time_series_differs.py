"""The time series is a plain collection, or has other fields or granularity."""

from worker.operate.doctor.finding import MONGODB, Finding, Severity
from worker.operate.doctor.schema_differences import looking_for

TIME_SERIES_DIFFERS = Finding(
    name="time_series_differs",
    severity=Severity.ERROR,
    needs=MONGODB,
    means="A time series is a plain collection, or has other fields or granularity: the worker does not start.",
    fix="It cannot be changed: drop or rename it; `schema apply` and `rebuild time-series` make it of the events.",
    look=looking_for(lambda each: each.what == "time series"),
)
