"""Runs as the race would have seen them."""

from bench.race import Run


def run(
    contestant: str, rate: float, *, wrong: str = "", cpu_us: float = 50.0, peak_mib: float = 100.0
) -> Run:
    """10,000 events at this rate; mongod takes twice the contestant's CPU."""
    events = 10_000
    cpu_s = cpu_us * events / 1e6
    return Run(contestant, events, events / rate, cpu_s, 2 * cpu_s, round(peak_mib * 2**20), 700.0, wrong)
