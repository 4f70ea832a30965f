"""Where jobs are killed: at what they write themselves, and once at what is written around every job."""

from tests.chaos.job_commands import COMMANDS
from tests.chaos.job_crashes import Kind, points_of
from worker.jobs.catalogue import JOBS

TAKEN: Kind = ("findAndModify", "leases/job/set.owner")
BEGUN: Kind = ("insert", "job_runs")
SAVED: Kind = ("findAndModify", "job_runs/currentDate+set")
OWN: Kind = ("update", "user_progress/set")
REPAIRS: Kind = ("update", "leases/partition/set.repairer")
SENT: Kind = ("send", "kafka")
CLOSED: Kind = ("endSessions", "1")


def places(kinds: list[Kind], known: set[Kind]) -> list[str]:
    return [str(point) for point in points_of(kinds, known)]


def test_each_kind_of_write_has_two_sides_and_what_is_around_every_job_comes_once() -> None:
    assert places([BEGUN, OWN], set()) == [
        "before:insert:job_runs:1",
        "after:insert:job_runs:1",
        "before:update:user_progress/set:1",
        "after:update:user_progress/set:1",
    ]
    assert places([BEGUN, OWN, REPAIRS], {BEGUN}) == [
        "before:update:user_progress/set:1",
        "after:update:user_progress/set:1",
        "before:update:leases/partition/set.repairer:1",
        "after:update:leases/partition/set.repairer:1",
    ]


def test_a_job_that_only_sends_is_killed_at_the_saves_of_its_place_too() -> None:
    found = places([TAKEN, BEGUN, SAVED, SENT, CLOSED], {TAKEN, BEGUN, SAVED, CLOSED})
    assert {point.rpartition(":")[0] for point in found} == {
        f"{side}:{kind}:{target}"
        for side in ("before", "after")
        for kind, target in (TAKEN, BEGUN, SAVED, SENT, CLOSED)
    }
    assert {point for point in found if point.endswith(":2")} == {
        f"{side}:{':'.join(SAVED)}:2" for side in ("before", "after")
    }


# `scrub` with SEVENP_SCRUB_REPAIR mends as `verify --fix` does; the others are killed by their own tests.
ELSEWHERE = {"scrub", "adopt", "curriculum-migration", "payments"}
BY_COMMAND = {
    "reingest": "reingest",
    "publish": "publish-from-store",
    "backfill": "backfill",
    "rebuild progress": "rebuild-progress",
    "rebuild progress --into": "rebuild-into",
    "rebuild counts": "rebuild-counts",
    "rebuild time-series": "rebuild-time-series",
    "rebuild notifications": "rebuild-notifications",
    "promote": "promote",
    "rollback": "rollback",
    "verify --fix": "verify-fix",
}


def test_every_job_that_writes_is_among_those_that_are_killed() -> None:
    killed = {
        max((words for words in BY_COMMAND if command.words.startswith(words)), key=len)
        for command in COMMANDS
    }
    assert killed == set(BY_COMMAND)
    assert set(BY_COMMAND.values()) | ELSEWHERE == {job.name for job in JOBS if job.changes}
