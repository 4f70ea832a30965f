"""The worker as an operator starts it; only that its first fetch is announced. Roles come from the environment.

With BENCH_SAMPLES its CPU time is sampled into that file. With BENCH_PROJECTION_VERSION its fold says that it is of
that version, so that every record has to be folded again.
"""

import os
import runpy
import sys
from contextlib import nullcontext
from pathlib import Path

from bench.contestants.first_fetch import say_first_fetch
from bench.contestants.sampling import VARIABLE, sampled
from projections import progress

PROJECTION_VERSION = "BENCH_PROJECTION_VERSION"


def raise_projection_version(version: int) -> None:
    """As a deployment with another fold would. Must come before anything imports the catalogue."""
    progress.PROJECTION_VERSION = version
    # The package's attribute `fold` is the function; the module that stamps documents is found by its name.
    vars(sys.modules["projections.progress.fold"])["PROJECTION_VERSION"] = version


if __name__ == "__main__":
    say_first_fetch()
    if PROJECTION_VERSION in os.environ:
        raise_projection_version(int(os.environ[PROJECTION_VERSION]))
    sys.argv = ["sevenp-worker", "run"]
    with sampled(Path(os.environ[VARIABLE])) if VARIABLE in os.environ else nullcontext():
        runpy.run_module("worker", run_name="__main__")
