"""Runs as the race would have seen them."""

from collections.abc import Sequence

from bench.contestants.field import BOTH, Stage
from bench.race import Run


def run(
    contestant: str,
    rate: float,
    *,
    wrong: str = "",
    cpu_us: float = 50.0,
    peak_mib: float = 100.0,
    stages: Sequence[Stage] = BOTH,
) -> Run:
    """10,000 events at this rate; mongod takes twice the contestant's CPU, and the last stage alone half the time."""
    events = 10_000
    cpu_s, seconds = cpu_us * events / 1e6, events / rate
    ends = {stage: seconds if stage == stages[-1] else seconds / 2 for stage in stages}
    peak = round(peak_mib * 2**20)
    return Run(contestant, events, seconds, cpu_s, 2 * cpu_s, peak, 700.0, wrong, cpu_s / 10, ends)
