"""Pieces of PromQL that all dashboards share: whom a metric is asked of, rates, quantiles, ages.

`$job` and `$instance` are the dashboards' variables. What the worker with the exporter's lease tells of the whole
platform must not vanish when somebody looks at another instance: it is asked of the job alone.

A label `job` of our own is called `exported_job` by Prometheus, which has one of that name itself.
"""

from collections.abc import Callable, Sequence

PREFIX = "sevenp_worker_"
PLATFORM = 'job=~"$job"'
WORKERS = f'{PLATFORM},instance=~"$instance"'
# Grafana's: four scrapes or more, so that a rate never falls between two of them.
SOME_TIME = "$__rate_interval"
# The time that is looked at.
ALL_TIME = "$__range"
# The token of an idle change stream moves at least this often.
IDLE_S = 10


def of_workers(metric: str, *matchers: str) -> str:
    """A selector of the chosen instances' series; `metric` is without prefix."""
    return f"{PREFIX}{metric}{{{','.join((WORKERS, *matchers))}}}"


def of_platform(metric: str, *matchers: str) -> str:
    """A selector of what one worker tells of the whole platform, or of all workers at once."""
    return f"{PREFIX}{metric}{{{','.join((PLATFORM, *matchers))}}}"


def per_second(metric: str, *matchers: str, by: Sequence[str] = ()) -> str:
    """The rate of a counter, summed over the instances."""
    return f"sum{_by(by)} (rate({of_workers(metric, *matchers)}[{SOME_TIME}]))"


def counted(metric: str, *matchers: str, by: Sequence[str] = ()) -> str:
    """How much a counter grew in the time that is looked at: in whole numbers, where Prometheus estimates."""
    return f"round(sum{_by(by)} (increase({of_workers(metric, *matchers)}[{ALL_TIME}])))"


def quantile(share: float, metric: str, *matchers: str, by: Sequence[str] = ()) -> str:
    """What this share of a histogram's observations stayed below."""
    return f"histogram_quantile({share}, {per_second(f'{metric}_bucket', *matchers, by=('le', *by))})"


def mean(metric: str, *matchers: str, by: Sequence[str] = ()) -> str:
    """The average of a histogram's observations."""
    sums, counts = (per_second(f"{metric}_{part}", *matchers, by=by) for part in ("sum", "count"))
    return f"{sums} / {counts}"


def age(selector: str, by: Sequence[str] = ()) -> str:
    """Seconds since the newest of these times."""
    return f"time() - max{_by(by)} ({selector})"


def behind(of: Callable[[str], str]) -> str:
    """How far change streams are behind: as of their last answer, and the silence since, beyond what is idle."""
    answered = of("change_stream_last_heartbeat_timestamp_seconds")
    return f"{of('change_stream_lag_seconds')} + clamp_min(time() - {answered} - {IDLE_S}, 0)"


def _by(by: Sequence[str]) -> str:
    return f" by ({', '.join(by)})" if by else ""
