"""The ledger: what was written before a record was sent, and whether its broker acknowledged it."""

import copy
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from tests.oracle import Entry, acknowledge, read_ledger, write_ledger
from tests.oracle.case import Case
from tests.oracle.check import check_case
from tests.oracle.seeded.right import derive, right_run
from tests.oracle.seeded.run import Run

STREAM = "course_65a1f0c2e4b0a1b2c3d4e5aa_user_65a1f0c2e4b0a1b2c3d4e5f6"


def test_a_ledger_survives_its_file(tmp_path: Path) -> None:
    entries = [
        Entry(UUID(int=1), STREAM, "ok", b"{}"),
        Entry(None, None, "poison", bytes(range(256)), reason="not_utf8", acknowledged=False),
    ]

    write_ledger(tmp_path / "ledger", entries[:1])
    write_ledger(tmp_path / "ledger", entries[1:])

    assert read_ledger(tmp_path / "ledger") == entries


def test_an_acknowledgement_may_come_later_and_for_single_entries(tmp_path: Path) -> None:
    entries = [Entry(UUID(int=n), STREAM, "ok", b"{}", acknowledged=False) for n in range(4)]

    write_ledger(tmp_path / "ledger", entries[:3])
    acknowledge(tmp_path / "ledger", [2, 0])
    write_ledger(tmp_path / "ledger", entries[3:])

    assert [entry.acknowledged for entry in read_ledger(tmp_path / "ledger")] == [True, False, True, False]


def test_what_nobody_acknowledged_may_be_stored_or_not() -> None:
    right = right_run()
    last = right.stream(right.events[0]["stream_id"])[-1]
    right.ledger = [
        replace(entry, acknowledged=False) if entry.event_id == last["_id"] else entry
        for entry in right.ledger
    ]
    lost = copy.deepcopy(right)
    lost.events.remove(last)
    derive(lost)

    assert check_case(_without_log(right)) == []
    assert check_case(_without_log(lost)) == []


def test_a_poisonous_record_nobody_acknowledged_may_have_a_letter_or_not() -> None:
    right = right_run()
    right.ledger = [replace(each, acknowledged=each.kind != "poison") for each in right.ledger]
    lost = copy.deepcopy(right)
    lost.dead_letters = [
        dead_letter for dead_letter in lost.dead_letters if dead_letter["reason"] == "conflict"
    ]

    assert check_case(_without_log(right)) == []
    assert check_case(_without_log(lost)) == []


def test_an_acknowledged_repeat_makes_sure_of_its_event() -> None:
    run = right_run()
    repeated = run.entry("duplicate")
    run.ledger = [
        replace(each, acknowledged=False)
        if each.kind == "ok" and each.event_id == repeated.event_id
        else each
        for each in run.ledger
    ]
    run.events = [event for event in run.events if event["_id"] != repeated.event_id]

    findings = check_case(_without_log(run), invariants={1, 2})

    assert {finding.invariant for finding in findings} == {1, 2}


def _without_log(run: Run) -> Case:
    case = run.case
    return replace(case, evidence=replace(case.evidence, log=None))
