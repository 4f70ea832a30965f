"""Takes each safety mechanism out of the worker in turn; the loss must be noticed: `python -m tests.chaos.trials`.

Every trial runs twice: with the mechanism, when nothing may be wrong, and without it, when oracle or verify must name
what the mechanism is for. Exit code 0 if both happened for every one. `--only burn` runs one, and may be repeated.
"""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from rich.console import Console
from rich.table import Table

from tests.chaos.crashes import crash_everywhere, run_once
from tests.chaos.fault_injector import KillPoint
from tests.chaos.final_run import finish, run_to_quiescence
from tests.chaos.history import History, history
from tests.chaos.launcher import WITHOUT_VARIABLE
from tests.chaos.plan import ScheduledPoint, When
from tests.chaos.removals import REMOVALS
from tests.chaos.rollback import rolled_back
from tests.chaos.zombies import stop_at
from tests.support.waiting import until
from worker.devstack.servers.process import ServerProcess
from worker.devstack.servers.worker_process import WorkerProbe

SEED = 7
# Long enough for what becomes quiescent at all; without a mechanism it may never.
_QUIESCENCE_S = 90.0
_BACKLOG = 400  # records published before the first worker starts
_WHOLE_SCENARIOS = 1_200  # the same, of which half are of the platform: some eight scenarios
_FURTHER = 900  # the same while a zombie sleeps: each course has moved on by then
# A course is looked at again after 30 s; its events are folded within seconds where nobody is killed.
_STALE_S = 50
_LONGER_S = 10

Violations = Awaitable[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Trial:
    """What is done to a worker without the mechanism, and words that stand in what is found then."""

    removed: str
    fault: str
    act: Callable[[Mapping[str, str]], Violations]
    noticed: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was wrong with the mechanism, and without it."""

    trial: Trial
    with_it: Sequence[str]
    without_it: Sequence[str]

    @property
    def proven(self) -> bool:
        return not self.with_it and any(self.trial.noticed in sentence for sentence in self.without_it)


def _in_history(act: Callable[[History], Violations]) -> Callable[[Mapping[str, str]], Violations]:
    """The act in a history of its own, whose workers have these further settings."""

    async def run(settings: Mapping[str, str]) -> Sequence[str]:
        try:
            async with history("trial", "embedded", SEED) as one:
                one.limit_s = _QUIESCENCE_S
                one.target = replace(one.target, settings={**one.target.settings, **settings})
                return await act(one)
        except Exception as error:  # a worker that cannot go on is a finding like any other
            return [f"{type(error).__name__}: {error}"]

    return run


async def _crash(one: History, point: str, when: When) -> Sequence[str]:
    await crash_everywhere(one, [ScheduledPoint(KillPoint.parse(point), when, point)], lambda _sentence: None)
    return await run_to_quiescence(one)


async def _run_on_a_backlog(one: History) -> Sequence[str]:
    """Refused events leave holes only where their learner's next one comes in the same batch."""
    await one.workload.burst(_BACKLOG)
    await run_once(one)
    return await run_to_quiescence(one)


async def _run(one: History) -> Sequence[str]:
    """Several scenarios of the platform, to their end or nearly so, and nobody is killed on purpose."""
    await one.workload.burst(_WHOLE_SCENARIOS)
    return await run_to_quiescence(one)


async def _run_live(one: History) -> Sequence[str]:
    """The same published while a worker works: what belongs together is counted at different times."""
    process = one.target.start()

    def enough() -> bool:
        process.require_alive()
        one.workload.require_alive()
        return one.workload.records >= _WHOLE_SCENARIOS and one.workload.stored_since(began)

    began = time.time()
    await until(enough, f"{_WHOLE_SCENARIOS} records to be published")
    return await finish(one, {"only": _probe(one, process)})


async def _run_for_long(one: History) -> Sequence[str]:
    """One worker lives on until what it has read of a course at first is too old to be stamped."""
    one.stale_after = timedelta(seconds=_STALE_S)
    process = one.target.start()
    began = time.monotonic()

    def old() -> bool:
        process.require_alive()
        one.workload.require_alive()
        return time.monotonic() - began > _STALE_S + _LONGER_S

    await until(old, "the first course to be too old to be stamped")
    return await finish(one, {"only": _probe(one, process)})


def _probe(one: History, process: ServerProcess) -> WorkerProbe:
    return WorkerProbe(f"http://127.0.0.1:{one.target.settings['SEVENP_HTTP_PORT']}", process)


async def _lose_projections(one: History) -> Sequence[str]:
    """What has been counted is forgotten, as by a restored backup: everything is counted, and asked for, again."""
    await run_once(one)
    process = one.target.start()
    await one.reach_quiescence({"first": process})
    await asyncio.to_thread(process.stop)
    await one.world.database.user_progress_projections.delete_many({})
    await one.world.database.projection_state.delete_many({"_id": {"$regex": "^counts"}})
    return await run_to_quiescence(one)


def _crashing(point: str, when: When = "always") -> Callable[[Mapping[str, str]], Violations]:
    """`once`: the very first worker is killed."""
    return _in_history(partial(_crash, point=point, when=when))


def _stopped(point: str, meanwhile: int = 0) -> Callable[[Mapping[str, str]], Violations]:
    return _in_history(partial(stop_at, point=point, meanwhile=meanwhile))


TRIALS: Sequence[Trial] = (
    Trial(
        "offset_last",
        "killed before events are stored",
        _crashing("before:insert:course_events/event:3"),
        "missing",
    ),
    Trial(
        "burn", "stopped before rows are written", _stopped("before:insert:user_interactions:3"), "too often"
    ),
    Trial(
        "look_after_burn",
        "killed after rows are written",
        _crashing("after:insert:user_interactions:2"),
        "too often",
    ),
    Trial(
        "rev_guard",
        "stopped before documents are written",
        _stopped("before:update:user_progress:2"),
        "unfolded=",
    ),
    Trial("hole_filling", "events the store refuses", _in_history(_run_on_a_backlog), "unfolded="),
    Trial(
        "one_transaction",
        "killed after projections are written",
        _crashing("after:insert:user_progress_projections:1"),
        "is missing",
    ),
    Trial("outbox_key", "projections deleted", _in_history(_lose_projections), "notification"),
    Trial(
        "part_guard",
        "stopped before a part is written",
        _stopped("before:update:course_versions~testing:1", meanwhile=_FURTHER),
        "5: version ",
    ),
    Trial(
        "parts_first",
        "killed after documents are written",
        _crashing("after:insert:version_history:1", "once"),
        "course version",
    ),
    Trial("claim_order", "two want the same slug, address and name", _in_history(_run), "must not"),
    Trial("student_once", "learners take two courses", _in_history(_run_live), "total_students"),
    Trial("status_forward", "a failure after a payment", _in_history(_run), "shows status"),
    Trial("stamp_age", "courses are revised", _in_history(_run_for_long), "before or after its time"),
    Trial("payment_last", "enrolments the store refuses", _in_history(_run), "is unexpected"),
    Trial("majority_reads", "a decision by what is rolled back", rolled_back, "missing"),
)


async def tried(trial: Trial) -> Outcome:
    """With the mechanism first: a fault that already breaks the complete worker would prove nothing."""
    with_it = await trial.act({})
    return Outcome(trial, with_it, await trial.act({WITHOUT_VARIABLE: trial.removed}))


async def _all(names: Sequence[str], say: Callable[[Outcome], None]) -> Sequence[Outcome]:
    outcomes = []
    for trial in TRIALS:
        if not names or trial.removed in names:
            outcomes.append(await tried(trial))
            say(outcomes[-1])
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.trials",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", choices=sorted(REMOVALS), default=[])
    options = parser.parse_args()
    # The clients' complaints of servers that are being killed are no news here.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console()

    def say(outcome: Outcome) -> None:
        console.print(f"without {outcome.trial.removed}: {'noticed' if outcome.proven else 'NOT PROVEN'}")
        for word, wrong in (("with it", outcome.with_it), ("without it", outcome.without_it)):
            for sentence in wrong[:5]:
                console.print(f"  {word}: {sentence[:300]}", markup=False, highlight=False)

    outcomes = asyncio.run(_all(options.only, say))
    table = Table(title="Safety mechanisms, each taken out")
    for heading in ("removed", "fault", "with it", "without it"):
        table.add_column(heading)
    for outcome in outcomes:
        table.add_row(
            outcome.trial.removed,
            outcome.trial.fault,
            "holds" if not outcome.with_it else f"{len(outcome.with_it)} wrong",
            f"{len(outcome.without_it)} wrong" if outcome.without_it else "holds",
        )
    console.print(table)
    return 0 if all(outcome.proven for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
