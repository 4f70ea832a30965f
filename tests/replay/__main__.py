"""Rebuilds a whole history under load, and says what it cost: exit 0 if all is right and in bounds, 1 if not.

The bounds: live freshness at most doubles at its 99th percentile, no command takes more than 256 MiB, and documents
are put back at 3,000 a second. On a machine that others use they mean nothing.

python -m tests.replay                                        500,000 events of 20,000 learners
python -m tests.replay --events 50000 --learners 2000         a tenth of it
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from tests.replay.trial import ReplaySize, run_trial
from tests.support.trials.report import common_arguments, common_size, finish


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, judge; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.replay", description=__doc__)
    common_arguments(parser, kills=10)
    parser.add_argument("--events", type=int, default=500_000)
    options = parser.parse_args(arguments)
    size = ReplaySize(events=options.events, learners=options.learners, **common_size(options))
    return finish(size, asyncio.run(run_trial(size)))


if __name__ == "__main__":
    sys.exit(main())
