"""Where a process's CPU time goes: its stack, noted every few milliseconds of CPU time, written when it ends.

Time in which it waits, or in which others have the core, is not counted; time in C counts for the Python that called.
"""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

VARIABLE = "BENCH_SAMPLES"
INTERVAL_S = 0.004  # what the kernel's own clock tick allows; a run of a second still gives 250 samples
_PACKAGES = ("site-packages/", "lib/python")


@contextmanager
def sampled(path: Path) -> Iterator[None]:
    """Sample the main thread until the block ends; then write stacks with their counts, outermost frame first."""
    counts: Counter[tuple[str, ...]] = Counter()

    def note(_number: int, frame: FrameType | None) -> None:
        stack = []
        while frame is not None:
            stack.append(_name(frame))
            frame = frame.f_back
        counts[tuple(reversed(stack))] += 1

    signal.signal(signal.SIGPROF, note)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        samples = [{"stack": stack, "count": count} for stack, count in counts.items()]
        path.write_text(json.dumps(samples), encoding="utf-8")


def _name(frame: FrameType) -> str:
    """`worker/ingest/plan.py:sort_candidates`: the same on every machine."""
    code = frame.f_code
    file = code.co_filename
    for part in _PACKAGES:
        file = file.rpartition(part)[2]
    for root in ("/worker/", "/projections/", "/bench/"):
        if root in file and not file.startswith(root):
            file = root[1:] + file.rpartition(root)[2]
    return f"{file}:{code.co_qualname}"
