"""The worker as an operator starts it; only that its first fetch is announced. Roles come from the environment.

With BENCH_SAMPLES its CPU time is sampled into that file.
"""

import os
import sys
from contextlib import nullcontext
from pathlib import Path

from bench.contestants.first_fetch import say_first_fetch
from bench.contestants.sampling import VARIABLE, sampled
from worker.cli import main

if __name__ == "__main__":
    say_first_fetch()
    sys.argv = ["sevenp-worker", "run"]
    with sampled(Path(os.environ[VARIABLE])) if VARIABLE in os.environ else nullcontext():
        main()
