"""Runs the worker's command line and kills its own process with SIGKILL at one chosen point; no hooks in the worker.

    CHAOS_KILL=after:insert:course_events:3 CHAOS_CRASHES=crashes.jsonl python -m tests.chaos.launcher run

kills before the third insert into `course_events` is sent, or after it was answered. `update:leases~burns` are
only the updates whose text has "burns", `update:leases/partition/inc.burns` those of this shape (see `shape`);
`insert|update:user_progress` are both. Kafka's commit of offsets is `commit:offsets`, the end of a transaction
`commitTransaction:1`, a request to the webhook `send:webhook`, a record for the producer `send:kafka`. The crashes'
file gets one line before the process dies, or before it does what CHAOS_ACT says instead: `kill:PID`, `tell:PORT`,
or `stop`.

With CHAOS_TRACE=file the process writes down its own writes; with CHAOS_BROKEN_LESSON=id live folds of that lesson
fail; with CHAOS_WITHOUT=name a safety mechanism is missing (see `removals`). Without them the worker just runs.
"""

import os
import runpy
import sys
from pathlib import Path

from bson import ObjectId

from tests.chaos.failing import fail_live_on
from tests.chaos.fault_injector import FaultInjector, KillPoint, acting
from tests.chaos.removals import remove
from tests.chaos.trace import Recorder
from tests.chaos.watching import PointWatcher, watch

POINT_VARIABLE = "CHAOS_KILL"
ACT_VARIABLE = "CHAOS_ACT"
CRASHES_VARIABLE = "CHAOS_CRASHES"
TRACE_VARIABLE = "CHAOS_TRACE"
BROKEN_VARIABLE = "CHAOS_BROKEN_LESSON"
WITHOUT_VARIABLE = "CHAOS_WITHOUT"


def main() -> None:
    """Arm, then become `python -m worker` with the remaining arguments."""
    point, trace = os.environ.get(POINT_VARIABLE), os.environ.get(TRACE_VARIABLE)
    if lesson := os.environ.get(BROKEN_VARIABLE):
        fail_live_on(ObjectId(lesson))
    if missing := os.environ.get(WITHOUT_VARIABLE):
        remove(missing.split(","))
    if trace:
        watch(Recorder(Path(trace)))
    if point:
        act = acting(os.environ.get(ACT_VARIABLE))
        watch(PointWatcher(FaultInjector(KillPoint.parse(point), Path(os.environ[CRASHES_VARIABLE]), act)))
    sys.argv[0] = "sevenp-worker"
    runpy.run_module("worker", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
