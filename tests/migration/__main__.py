"""Migrates a course under load, killed again and again, and says what it cost: exit 0 if all is right and in bounds.

The bound: live freshness at most doubles at its 99th percentile. On a machine that others use it means nothing.

python -m tests.migration                          20,000 learners, 300 lessons and 10 new ones, 5 kills
python -m tests.migration --learners 2000          a tenth of it
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

from tests.migration.trial import Size, run_trial

_MOST_SLOWER = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, judge; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.migration", description=__doc__)
    parser.add_argument("--learners", type=int, default=20_000)
    parser.add_argument("--lessons", type=int, default=300)
    parser.add_argument("--added", type=int, default=10)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--rate", type=int, default=100, help="learners a second at most")
    parser.add_argument("--load", type=int, default=50, help="events a second meanwhile")
    parser.add_argument("--quiet", type=float, default=30.0, help="seconds of load before the migration")
    options = parser.parse_args(arguments)
    size = Size(
        options.learners,
        options.lessons,
        options.added,
        kills=options.kills,
        rate=options.rate,
        load=options.load,
        quiet_s=options.quiet,
    )
    report = asyncio.run(run_trial(size))
    beyond = report.slower > _MOST_SLOWER
    sys.stdout.write(json.dumps({**report.to_json(), "beyond": beyond}, indent=2) + "\n")
    return 1 if report.wrong or beyond else 0


if __name__ == "__main__":
    sys.exit(main())
