"""Migrates a course under load, killed again and again, and says what it cost: exit 0 if all is right and in bounds.

The bound: live freshness at most doubles at its 99th percentile. On a machine that others use it means nothing.

python -m tests.migration                          20,000 learners, 300 lessons and 10 new ones, 5 kills
python -m tests.migration --learners 2000          a tenth of it
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from tests.migration.trial import LIMIT_S, MigrationSize, run_trial
from tests.support.trials.report import common_arguments, common_size, finish


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, judge; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.migration", description=__doc__)
    common_arguments(parser, kills=5)
    parser.add_argument("--lessons", type=int, default=300)
    parser.add_argument("--added", type=int, default=10)
    parser.add_argument("--rate", type=int, default=0, help="learners a second at most; 0 for the job's own")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds after which it is given up")
    options = parser.parse_args(arguments)
    size = MigrationSize(
        learners=options.learners,
        lessons=options.lessons,
        added=options.added,
        rate=options.rate,
        limit_s=options.limit,
        **common_size(options),
    )
    return finish(size, asyncio.run(run_trial(size)))


if __name__ == "__main__":
    sys.exit(main())
