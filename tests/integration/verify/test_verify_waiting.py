"""Verify tells what merely waits from what stands still: other releases' documents, and old events."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.integration.verify.history import START, learner, progress_of
from tests.integration.verify.test_verify import TARGET, found, soon, store_with
from tests.support.clocks import ManualClock
from worker.storage.database import Database
from worker.storage.leases import GroupLeases
from worker.verify.run import OVERDUE, verify


async def test_a_document_of_a_newer_projection_version_is_frozen_and_said_so(database: Database) -> None:
    target = learner(TARGET)
    other = {**target.progress, "projection_version": 99, "completion_notified": True}
    await store_with(database, replace(target, progress=other))

    verification = await soon(database)

    assert found(verification) == [("progress_newer", target.stream)]
    assert verification.of("progress").other_version == 1


async def test_documents_of_a_newer_release_that_runs_are_its_own(database: Database) -> None:
    target = learner(TARGET)
    await store_with(database, replace(target, progress={**target.progress, "projection_version": 99}))
    # A lease has the sum of all versions of its worker.
    others = sum(each.version for each in database.catalogue.streams if each.name != "progress")
    await GroupLeases(database, "newer", version=99 + others).announce()

    verification = await soon(database)

    assert (verification.ok, verification.of("progress").other_version) == (True, 1)


async def test_a_document_of_an_older_projection_version_waits_to_be_folded_again(database: Database) -> None:
    target = learner(TARGET)
    older = {**target.progress, "projection_version": 0, "completion_notified": True}
    await store_with(database, replace(target, progress=older))

    live, quiescent = await verify(database), await verify(database, quiescent=True)

    assert (live.ok, live.of("progress").behind, live.of("progress").other_version) == (True, 1, 1)
    assert found(quiescent) == [("progress_behind", target.stream)]


async def test_other_code_moves_no_document_to_another_learner(database: Database) -> None:
    target = learner(TARGET)
    older = {**target.progress, "projection_version": 0, "slot": (target.progress["slot"] + 1) % 256}
    await store_with(database, replace(target, progress=older))

    assert found(await soon(database)) == [("progress_different", target.stream)]


@pytest.mark.parametrize("folded", [9, 0])
async def test_a_document_that_waits_for_an_old_event_is_a_finding_on_a_live_system_too(
    database: Database, folded: int
) -> None:
    target = learner(TARGET)
    await store_with(database, replace(target, progress=progress_of(target.events[: folded or 12])))
    if not folded:
        await database.user_progress.delete_one({"_id": target.progress["_id"]})

    at = START + OVERDUE
    early = await verify(database, clock=ManualClock(at - timedelta(minutes=1)))
    late = await verify(database, clock=ManualClock(at + timedelta(minutes=1)))

    kind = "progress_behind" if folded else "progress_missing"
    assert (early.ok, early.of("progress").behind, found(late)) == (True, 1, [(kind, target.stream)])
