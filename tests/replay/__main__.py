"""Rebuilds a whole history under load, and says what it cost: exit 0 if nothing is wrong, 1 if something is.

python -m tests.replay                                        500,000 events of 20,000 learners
python -m tests.replay --events 50000 --learners 2000         a tenth of it
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

from tests.replay.trial import Size, run_trial


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, judge; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.replay", description=__doc__)
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--learners", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--load", type=int, default=50, help="events a second meanwhile")
    parser.add_argument("--quiet", type=float, default=30.0, help="seconds of load before the rebuild")
    options = parser.parse_args(arguments)
    size = Size(
        options.events,
        options.learners,
        kills=options.kills,
        load=options.load,
        quiet_s=options.quiet,
    )
    report = asyncio.run(run_trial(size))
    sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
