"""From a trace to the points: none is forgotten, and a stage that wrote nothing is named."""

from pathlib import Path

from tests.chaos.plan import LATER, early, planned, schedule, shared
from tests.chaos.stages import OTHER, STAGES, missing, stage_of
from tests.chaos.trace import Recorder, Write, read_trace
from tests.chaos.tracing import Traces

EVENTS, ROWS, OFFSETS = (
    ("insert", "course_events/event"),
    ("insert", "user_interactions"),
    ("commit", "offsets"),
)
CREATED, BURNED = ("insert", "leases"), ("update", "leases/partition/inc.burns")
RELEASED = ("update", "leases/progress/set.expires_at.owner")
STOPPED_AT = 100.0

TRACES = Traces(
    first=[Write(*kind, at) for at, kind in enumerate([CREATED, EVENTS, ROWS, OFFSETS])],
    second=[
        *(Write(*kind, 50) for kind in [BURNED, *[EVENTS] * 2 * LATER, ROWS, OFFSETS]),
        Write(*RELEASED, STOPPED_AT + 1),
    ],
    stopped_at=STOPPED_AT,
)


def test_every_kind_is_planned_once_with_the_time_it_comes() -> None:
    found = {(plan.command, plan.target): plan.when for plan in planned(TRACES)}
    assert found == {
        CREATED: "once",
        EVENTS: "always",
        ROWS: "always",
        OFFSETS: "always",
        BURNED: "always",
        RELEASED: "stopping",
    }


def test_both_sides_of_every_kind_are_points_and_a_later_one_of_the_frequent() -> None:
    points = {str(each.point) for each in schedule(planned(TRACES), seed=1)}
    kinds = [CREATED, EVENTS, ROWS, OFFSETS, BURNED, RELEASED]
    firsts = {f"{side}:{':'.join(kind)}:1" for kind in kinds for side in ("before", "after")}
    later = {f"{side}:{':'.join(EVENTS)}:{LATER}" for side in ("before", "after")}
    assert points == firsts | later


def test_of_stages_that_are_alike_a_short_run_has_one_point_each_and_the_full_run_all() -> None:
    alike = [("insert", "content_blocks"), ("update", "content_blocks/set")]
    kinds = [*alike, EVENTS, OFFSETS]
    writes = [Write(*kind, 50) for kind in kinds for _ in range(2 * LATER)]
    traces = Traces(first=writes, second=writes, stopped_at=STOPPED_AT)
    drawn = [schedule(planned(traces), seed) for seed in range(60)]
    whole = schedule(planned(traces), seed=1, whole=True)
    of_kind = [
        [each.point for each in made if (each.point.command, each.point.target) in alike] for made in drawn
    ]
    assert {len(points) for points in of_kind} == {1}
    assert {str(point) for points in of_kind for point in points} == {
        str(each.point) for each in whole if (each.point.command, each.point.target) in alike
    }
    assert {len(made) for made in drawn} == {1 + 2 * 2 * 2}
    assert len(whole) == len(kinds) * 2 * 2


def test_what_every_follower_does_is_one_followers_in_a_short_run() -> None:
    kinds = [("update", f"leases/{name}/set.expires_at.owner") for name in ("counts", "models", "progress")]
    writes = [Write(*kind, 50) for kind in [*kinds, OFFSETS]]
    traces = Traces(first=writes, second=writes, stopped_at=STOPPED_AT)
    drawn = [schedule(planned(traces), seed) for seed in range(60)]
    of_leases = [[each.point for each in made if each.stage == OTHER] for made in drawn]
    assert {tuple(sorted(point.side for point in points)) for points in of_leases} == {("after", "before")}
    assert {point.target for points in of_leases for point in points} == {target for _, target in kinds}
    assert len(schedule(planned(traces), seed=1, whole=True)) == 2 * len([*kinds, OFFSETS])


def test_what_happens_once_comes_first_and_in_order() -> None:
    made = schedule(planned(TRACES), seed=7)
    assert [str(each.point) for each in made[:2]] == ["before:insert:leases:1", "after:insert:leases:1"]
    assert [each.when for each in made].count("once") == 2


def test_the_seed_decides_the_order_and_nothing_else() -> None:
    one, same, other = (schedule(planned(TRACES), seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert set(one) == set(other)


def test_shares_hold_every_point_once_and_the_first_what_happens_once() -> None:
    made = schedule(planned(TRACES), seed=1)
    shares = shared(made, 3)
    assert sorted(str(each.point) for share in shares for each in share) == sorted(
        str(each.point) for each in made
    )
    assert [each.when for share in shares[1:] for each in share].count("once") == 0
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_recovery_is_what_a_run_writes_before_its_first_commit() -> None:
    found = {(plan.command, plan.target) for plan in early(TRACES, planned(TRACES))}
    assert found == {BURNED, EVENTS, ROWS}


def test_a_stage_without_a_write_is_named() -> None:
    assert set(missing(TRACES.second)) == set(STAGES) - {
        "assignment: burn",
        "ingest: events",
        "ingest: rows",
        "ingest: offsets",
    }


def test_what_keeps_a_role_going_is_no_stage() -> None:
    assert {stage_of(write) for write in TRACES.second if write.target == RELEASED[1]} == {OTHER}


def test_a_recorder_writes_down_writes_and_no_reads(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "trace")
    recorder.begins("find", {"find": "leases"})
    recorder.begins("insert", {"insert": "dead_letters", "documents": [{}]})
    recorder.begins("commit", {"commit": "offsets"})
    found = [(write.command, write.target) for write in read_trace(tmp_path / "trace")]
    assert found == [("insert", "dead_letters"), OFFSETS]
