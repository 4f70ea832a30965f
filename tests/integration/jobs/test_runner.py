"""The runner of jobs on a real server: once at a time, from its checkpoint, whoever is killed."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from bson.max_key import MaxKey
from structlog.testing import capture_logs

from tests.support.failpoints import failing
from tests.support.jobs import CountArguments, Counting, job_run, runner
from tests.support.waiting import until
from worker.errors import Retryable
from worker.jobs.context import JobContext, Progress
from worker.jobs.errors import Held, LeaseLost
from worker.jobs.job import Job
from worker.jobs.runner import Former
from worker.storage.database import Collection, Database, Document
from worker.storage.job_models import JobRun
from worker.storage.job_runs import note_session, sessions
from worker.storage.transactions import Session
from worker.timing import cancel_and_wait
from worker.verify.run import verify

# As short as settings allow.
LEASE_S = 2.0
# The server ends a transaction that nobody commits after a minute.
_BEFORE_THE_SERVER_S = 45.0
NOT_PRIMARY = 10107  # a server code: the driver repeats the command once, and then gives up


async def only_run(database: Database) -> Document:
    [run] = await database.job_runs.find({}).to_list(None)
    return run


async def audit_rows(database: Database) -> list[Document]:
    return await database.audit.find({}).sort("at", 1).to_list(None)


async def test_a_run_is_done_step_by_step_and_told_in_its_document(database: Database) -> None:
    seen: list[Progress] = []
    counting = Counting()
    result = await runner(database, observe=seen.append).run(counting.job, CountArguments(to=3))
    assert counting.counted == [0, 1, 2]
    assert result.outcome == {"reached": 3}
    stored = await only_run(database)
    told = {name: stored[name] for name in ("status", "progress", "counts", "checkpoint", "outcome", "who")}
    assert told == {
        "status": "succeeded",
        "progress": {"done": 3, "total": 3},
        "counts": {"counted": 3},
        "checkpoint": {"next": 3},
        "outcome": {"reached": 3},
        "who": "anna@ops-1",
    }
    assert seen[-1] == Progress(3, 3, {"counted": 3})


async def test_verify_knows_the_lease_of_a_job(database: Database) -> None:
    counting = Counting(stops_at=1)
    working = asyncio.create_task(runner(database).run(counting.job, CountArguments()))
    await counting.stopped.wait()
    verification = await verify(database, quiescent=True)
    assert verification.ok, verification.findings
    counting.go_on.set()
    await working


async def test_a_second_start_says_who_runs_it_since_when(database: Database) -> None:
    counting = Counting(stops_at=1)
    first = asyncio.create_task(
        runner(database, "anna@ops-1", lease_s=LEASE_S).run(counting.job, CountArguments())
    )
    await counting.stopped.wait()
    second = Counting()
    with pytest.raises(Held, match=r"count is being run by anna@ops-1 since 20.* UTC \(run count-\w+-1\)"):
        await runner(database, "ben@ops-2", lease_s=LEASE_S).run(second.job, CountArguments(name="other"))
    assert second.began_at == []
    counting.go_on.set()
    assert (await first).run.status == "succeeded"


async def test_what_only_looks_runs_beside_what_changes(database: Database) -> None:
    counting = Counting(stops_at=1)
    first = asyncio.create_task(runner(database).run(counting.job, CountArguments()))
    await counting.stopped.wait()
    await runner(database).run(Counting(changes=False).job, CountArguments())
    await runner(database).run(Counting().job, CountArguments(), dry_run=True)
    counting.go_on.set()
    await first
    [row] = await audit_rows(database)
    assert row["run"] == (await first).run.id


async def test_a_killed_run_goes_on_at_its_checkpoint_when_it_is_started_again(database: Database) -> None:
    killed = Counting(stops_at=3)
    await killed_in_its_middle(database, killed)
    counting = Counting()
    result = await runner(database, lease_s=LEASE_S).run(counting.job, CountArguments())
    assert (counting.began_at, counting.counted) == ([3], [3, 4])
    stored = await only_run(database)
    assert (stored["attempts"], stored["counts"], stored["progress"]["done"]) == (2, {"counted": 5}, 5)
    assert result.run.id == stored["_id"]
    assert [row["status"] for row in await audit_rows(database)] == ["unknown", "done"]


async def killed_in_its_middle(database: Database, counting: Counting) -> None:
    """Run until it stops, and end it as SIGKILL does: nothing more is written."""
    client = runner(database, lease_s=LEASE_S)
    working = asyncio.create_task(client.run(counting.job, CountArguments()))
    await counting.stopped.wait()
    before = [
        await only_run(database),
        *await audit_rows(database),
        *await database.leases.find({}).to_list(None),
    ]
    await cancel_and_wait(working)
    run, row, lease = before
    await database.job_runs.replace_one({"_id": run["_id"]}, run)
    await database.audit.replace_one({"_id": row["_id"]}, row)
    await database.leases.replace_one({"_id": lease["_id"]}, lease)


async def test_a_run_that_is_stopped_in_good_order_can_go_on_at_once(database: Database) -> None:
    stopped = Counting(stops_at=2)
    working = asyncio.create_task(runner(database, lease_s=300).run(stopped.job, CountArguments()))
    await stopped.stopped.wait()
    await cancel_and_wait(working)
    assert (await only_run(database))["status"] == "stopped"
    counting = Counting()
    await runner(database, lease_s=300).run(counting.job, CountArguments())
    assert counting.began_at == [2]


async def test_a_run_that_is_stopped_between_its_begin_and_its_work_does_not_stand_as_running(
    database: Database,
) -> None:
    def stop(_run: JobRun, _former: Former | None) -> None:
        raise asyncio.CancelledError

    stopped = Counting()
    client = replace(runner(database, lease_s=300), begun=stop)
    with pytest.raises(asyncio.CancelledError):
        await client.run(stopped.job, CountArguments())
    assert stopped.began_at == []
    run = await only_run(database)
    assert (run["status"], run["error"]) == ("stopped", "interrupted")
    counting = Counting()
    await runner(database, lease_s=300).run(counting.job, CountArguments())
    assert (await only_run(database))["status"] == "succeeded"


async def test_a_run_that_was_taken_over_writes_nothing_more(database: Database) -> None:
    frozen = Counting(stops_at=2)
    sleeping = asyncio.create_task(
        runner(database, "anna@ops-1", lease_s=300).run(frozen.job, CountArguments())
    )
    await frozen.stopped.wait()
    # It sleeps for so long that its lease runs out.
    await database.leases.update_one({"kind": "job"}, [{"$set": {"expires_at": "$$NOW"}}])
    counting = Counting()
    await runner(database, "ben@ops-2").run(counting.job, CountArguments())
    after = await only_run(database)
    frozen.go_on.set()
    with pytest.raises(LeaseLost):
        await sleeping
    assert await only_run(database) == after
    assert after["who"] == "ben@ops-2"
    assert [row["status"] for row in await audit_rows(database)] == ["failed", "done"]


def _it(database: Database) -> Collection:
    """A collection that nothing else is in."""
    return database.audit.database["it"]


@pytest.mark.parametrize("name", ["", "other"])
async def test_what_a_killed_attempt_left_open_holds_no_document_of_the_next(
    database: Database, name: str
) -> None:
    """Neither of the same run, nor of another of the same lock."""
    held, go_on = asyncio.Event(), asyncio.Event()

    async def write(database: Database, session: Session, by: str) -> None:
        await _it(database).update_one({"_id": "it"}, {"$set": {"by": by}}, session=session)

    async def hold(context: JobContext, _arguments: CountArguments) -> None:
        async def work(session: Session) -> None:
            await write(context.database, session, "first")
            held.set()
            await go_on.wait()

        async with context.transactions() as transactions:
            await transactions.run(work)

    async def write_at_once(context: JobContext, _arguments: CountArguments) -> None:
        async with context.transactions() as transactions:
            await transactions.run(lambda session: write(context.database, session, "second"))

    await _it(database).insert_one({"_id": "it", "by": "nobody"})
    first = asyncio.create_task(
        runner(database, lease_s=300).run(Job("count", CountArguments, hold), CountArguments())
    )
    await held.wait()
    await database.leases.update_one({"kind": "job"}, [{"$set": {"expires_at": "$$NOW"}}])
    arguments = CountArguments(name=name) if name else CountArguments()
    async with asyncio.timeout(_BEFORE_THE_SERVER_S):
        await runner(database).run(Job("count", CountArguments, write_at_once), arguments)
    written = await _it(database).find_one({"_id": "it"})
    go_on.set()
    with pytest.raises(LeaseLost):
        await first
    assert written == await _it(database).find_one({"_id": "it"}) == {"_id": "it", "by": "second"}
    assert await database.job_runs.count_documents({"session": {"$exists": True}}) == 0


async def test_a_session_whose_transactions_are_over_is_noted_no_more(database: Database) -> None:
    noted: list[int] = []

    async def note(context: JobContext) -> None:
        noted.append(await context.database.job_runs.count_documents({"session": {"$exists": True}}))

    async def twice(context: JobContext, _arguments: CountArguments) -> None:
        for _ in range(2):
            async with context.transactions():
                await note(context)
            await note(context)

    await runner(database).run(Job("count", CountArguments, twice), CountArguments())
    assert noted == [1, 0, 1, 0]


async def test_a_former_owner_leaves_the_note_of_the_one_after_it(database: Database) -> None:
    former, owner = job_run("count", 1), {**job_run("count", 2), "epoch": 2, "session": uuid4()}
    await database.job_runs.insert_many([{**former, "status": "stopped"}, owner])
    assert not await note_session(database, "count", former["_id"], 1, uuid4())
    assert await sessions(database, "count") == [owner["session"]]


async def test_a_run_of_other_arguments_shuts_the_former_owner_out_as_well(database: Database) -> None:
    frozen = Counting(stops_at=2)
    sleeping = asyncio.create_task(runner(database, lease_s=300).run(frozen.job, CountArguments()))
    await frozen.stopped.wait()
    await database.leases.update_one({"kind": "job"}, [{"$set": {"expires_at": "$$NOW"}}])
    await runner(database).run(Counting().job, CountArguments(name="other"))
    frozen.go_on.set()
    with pytest.raises(LeaseLost):
        await sleeping
    assert frozen.counted == [0, 1, 2]
    resumed = Counting()
    await runner(database).run(resumed.job, CountArguments())
    assert resumed.began_at == [2]


async def test_an_interval_that_is_done_is_done_once(database: Database) -> None:
    day: dict[str, Any] = {"interval": "2026-11-21/P1D"}
    first = await runner(database).run(Counting().job, CountArguments(), **day)
    again = Counting()
    result = await runner(database).run(again.job, CountArguments(), **day)
    assert (result.already, result.run.id, again.began_at) == (True, first.run.id, [])
    result = await runner(database).run(again.job, CountArguments(), again=True, **day)
    assert (result.already, result.run.number, again.began_at) == (False, 2, [0])
    # Without an interval it is done as often as it is asked for.
    numbers = [(await runner(database).run(Counting().job, CountArguments())).run.number for _ in range(2)]
    assert numbers == [1, 2]


async def test_a_dependency_that_is_away_is_waited_for_at_the_checkpoint(database: Database) -> None:
    counting = Counting(stops_at=2, error=Retryable("away"))
    working = asyncio.create_task(runner(database).run(counting.job, CountArguments()))
    await until(lambda: len(counting.began_at) > 1, "the job was called again")
    counting.go_on.set()
    await working
    assert (counting.began_at[:2], counting.counted) == ([0, 2], [0, 1, 2, 3, 4])


async def test_an_error_is_kept_without_what_it_quotes(database: Database) -> None:
    counting = Counting(stops_at=2, error=ValueError("anna@example.org"))
    with pytest.raises(ValueError, match="anna"):
        await runner(database).run(counting.job, CountArguments())
    stored, [row] = await only_run(database), await audit_rows(database)
    assert (stored["status"], stored["error"], row["status"], row["error"]) == (
        "failed",
        "value",
        "failed",
        "value",
    )


async def test_several_tasks_of_a_run_count_together_and_end_with_the_error_that_decides(
    database: Database,
) -> None:
    """One of them waits for a dependency when somebody else takes the run over."""
    context: list[JobContext] = []

    async def work(given: JobContext, arguments: CountArguments) -> None:
        context.append(given)

        async def steps() -> None:
            for number in range(arguments.to):
                await given.advance(1, {"next": number}, counted=1)
            if arguments.name == "lost":
                await database.job_runs.update_one({"_id": given.run_id}, {"$inc": {"epoch": 1}})
                await given.advance(1, {})

        async def away() -> None:
            if arguments.name == "lost":
                try:
                    await asyncio.Event().wait()
                finally:
                    raise Retryable("away")

        async with asyncio.TaskGroup() as group:
            for task in (*(steps() for _ in range(4)), away()):
                group.create_task(task)

    job = Job("several", CountArguments, work)
    result = await runner(database).run(job, CountArguments(to=10))
    assert (result.run.counts, result.run.progress.done) == ({"counted": 40}, 40)
    with pytest.raises(LeaseLost):
        await runner(database).run(job, CountArguments(to=1, name="lost"))
    assert len(context) == 2


async def test_a_lease_that_makes_no_sense_is_named_and_not_waited_for_for_ever(database: Database) -> None:
    lease = {"_id": "job:count", "kind": "job", "owner": 7, "expires_at": MaxKey()}
    await database.leases.insert_one(lease, bypass_document_validation=True)
    with pytest.raises(Held, match="can be neither claimed nor read: delete job:count in `leases`"):
        await runner(database, lease_s=0.2).run(Counting().job, CountArguments())


async def test_of_many_that_start_at_once_one_does_the_work_and_the_others_know_who(
    database: Database,
) -> None:
    counting = Counting(stops_at=2)
    starts = [
        asyncio.create_task(
            runner(database, f"{name}@ops", lease_s=LEASE_S).run(
                counting.job, CountArguments(), interval="2026-11-21/P1D"
            )
        )
        for name in ("anna", "ben", "cleo", "dan", "eve")
    ]
    await counting.stopped.wait()
    await until(lambda: sum(each.done() for each in starts) == 4, "four have given up")
    counting.go_on.set()
    ends = await asyncio.gather(*starts, return_exceptions=True)
    [won] = [end for end in ends if not isinstance(end, BaseException)]
    assert {str(end).partition(" since ")[0] for end in ends if isinstance(end, Held)} == {
        f"count is being run by {won.run.who}"
    }
    assert counting.counted == [0, 1, 2, 3, 4]
    assert (await only_run(database))["attempts"] == 1


@pytest.mark.parametrize(
    ("command", "collection"),
    [
        ("update", "leases"),
        ("find", "job_runs"),
        ("insert", "job_runs"),
        ("findAndModify", "job_runs"),
        ("update", "job_runs"),
        ("update", "audit"),
    ],
)
async def test_a_server_that_fails_at_times_costs_neither_a_step_nor_a_count(
    watched: Database, command: str, collection: str
) -> None:
    """Not the primary any more: the driver sends it again, once; then the runner does."""
    counting = Counting()
    async with failing(watched, [command], code=NOT_PRIMARY, times=3, collection=collection) as failed:
        ended = await runner(watched).run(counting.job, CountArguments(to=20))
        assert await failed() == 3
    stored, [row] = await only_run(watched), await audit_rows(watched)
    assert (ended.run.status, stored["counts"]["counted"], stored["progress"]["done"]) == (
        "succeeded",
        20,
        20,
    )
    assert sorted(set(counting.counted)) == list(range(20))
    assert row["status"] == "done"


async def test_a_run_that_goes_on_says_whose_it_was_and_since_when(database: Database) -> None:
    killed = Counting(stops_at=3)
    await killed_in_its_middle(database, killed)
    before = await only_run(database)
    with capture_logs() as logs:
        result = await runner(database, "ben@ops-2", lease_s=LEASE_S).run(Counting().job, CountArguments())
    assert result.former == Former("anna@ops-1", before["started_at"], 3)
    [begun] = [each for each in logs if each["event"] == "job_begun"]
    [resumed] = [each for each in logs if each["event"] == "job_resumed"]
    told = {name: resumed[name] for name in ("former", "since", "done")}
    since = before["started_at"].isoformat()
    assert (begun["resumed"], told) == (True, {"former": "anna@ops-1", "since": since, "done": 3})
    with capture_logs() as logs:
        assert (await runner(database).run(Counting().job, CountArguments())).former is None
    assert not any(each.get("resumed") or each["event"] == "job_resumed" for each in logs)


async def test_where_the_audit_cannot_be_told_of_the_end_the_next_run_tells_it_by_the_record_of_the_run(
    watched: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.storage.audit._PATIENCE_S", 0.2)
    counting = Counting(stops_at=2)
    working = asyncio.create_task(runner(watched).run(counting.job, CountArguments()))
    await counting.stopped.wait()
    async with failing(watched, ["update"], code=NOT_PRIMARY, times=10_000, collection="audit"):
        counting.go_on.set()
        result = await working
    assert result.run.status == "succeeded"
    assert "what was asked is done, but the audit does not say so" in str(result.unnoted)
    assert [row["status"] for row in await audit_rows(watched)] == ["begun"]

    busy = Counting(stops_at=1)
    other = Job("other", CountArguments, busy.job.run)
    beside = asyncio.create_task(runner(watched).run(other, CountArguments()))
    await busy.stopped.wait()
    await runner(watched).run(Counting().job, CountArguments())
    first, at_work, last = await audit_rows(watched)
    told = (first["status"], first["outcome"], first["error"], first["finished_at"])
    assert told == ("done", {"counted": 5, "reached": 5}, None, result.run.finished_at)
    assert (at_work["status"], last["status"]) == ("begun", "done")
    busy.go_on.set()
    await beside
