"""Rebuilds a whole history under load, and says what it cost: exit 0 if all is right and in bounds, 1 if not.

The bounds: live freshness at most doubles at its 99th percentile, no command takes more than 256 MiB, and documents
are put back at 3,000 a second. On a machine that others use they mean nothing.

python -m tests.replay                                        500,000 events of 20,000 learners
python -m tests.replay --events 50000 --learners 2000         a tenth of it
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

from tests.replay.trial import Report, Size, run_trial

_MOST_SLOWER = 2.0
_MOST_MIB = 256
_LEAST_A_SECOND = 3_000


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
    sys.stdout.write(json.dumps({**report.to_json(), "beyond": beyond(report)}, indent=2) + "\n")
    return 1 if report.wrong or beyond(report) else 0


def beyond(report: Report) -> list[str]:
    """Which bounds are not kept."""
    rolled_back = report.runs["rolled back, documents"]["a_second_of_work"]
    bounds = {
        f"freshness grew by {report.slower}": report.slower <= _MOST_SLOWER,
        **{
            f"{name} took {run['peak_mib']} MiB": run["peak_mib"] <= _MOST_MIB
            for name, run in report.runs.items()
        },
        f"{rolled_back} documents a second were put back": rolled_back >= _LEAST_A_SECOND,
    }
    return [words for words, kept in bounds.items() if not kept]


if __name__ == "__main__":
    sys.exit(main())
