"""The worker as an operator starts it; only that its first fetch is announced. Roles come from the environment."""

import sys

from bench.contestants.task import say_first_fetch
from worker.cli import main

if __name__ == "__main__":
    say_first_fetch()
    sys.argv = ["sevenp-worker", "run"]
    main()
