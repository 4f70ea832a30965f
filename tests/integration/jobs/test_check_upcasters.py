"""`check-upcasters`: all stored events through a contract, page by page, with an exit code."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest

from tests.integration.verify.history import START, stored_events
from tests.support.commands import sevenp_worker
from tests.support.jobs import runner
from tests.support.progress import store
from tests.support.two_versions import NEW, OLD, TWO_VERSIONS, done_becomes_handed_in, quiz
from worker.app.exits import ExitCode
from worker.jobs import check_upcasters as module
from worker.jobs.check_upcasters import CheckUpcasters, check_upcasters
from worker.storage.database import Database, Document
from worker.storage.documents import void_document
from worker.storage.stream_selection import StreamSelection

BAD = {"points": 3, "most": 0}


async def _both_versions(database: Database) -> dict[str, list[Document]]:
    """Three learners: two old events, one of them bad, a void and a new one each."""
    learners = {
        name: [quiz(name, 1), quiz(name, 2, OLD, **BAD), quiz(name, 4, NEW)] for name in ("ann", "bob", "cy")
    }
    for events in learners.values():
        await store(database, [*events, void_document(events[0]["stream_id"], 3, START)])
    return learners


async def test_what_would_fail_is_counted_by_kind_and_named(database: Database) -> None:
    learners = await _both_versions(database)
    job = check_upcasters(TWO_VERSIONS)
    before = await database.course_events.find({}).to_list(None)

    result = await runner(database).run(job, CheckUpcasters())

    outcome = result.run.outcome or {}
    of = {"family": "quizzes"}
    assert outcome["events"] == [
        {**of, "event_type": "quiz_done", "schema_version": 1, "events": 6, "failed": 3},
        {**of, "event_type": "quiz_handed_in", "schema_version": 2, "events": 3, "failed": 0},
    ]
    [failure] = outcome["failures"]
    samples = failure.pop("samples")
    assert failure == {
        **of,
        "event_type": "quiz_done",
        "schema_version": 1,
        "reason": "upcaster_raised",
        "field": "",
        "message": "ZeroDivisionError for the event's record",
        "events": 3,
    }
    named = {(str(events[1]["_id"]), events[1]["stream_id"], 2) for events in learners.values()}
    assert {(each["event"], each["stream"], each["version"]) for each in samples} == named
    counts = {name: result.run.counts[name] for name in ("events", "failed", "not_checked")}
    assert counts == {"events": 12, "failed": 3, "not_checked": 3}
    assert job.differs(outcome)
    assert await database.course_events.find({}).to_list(None) == before
    assert await database.audit.count_documents({}) == 0


async def test_it_goes_on_where_it_was_interrupted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _both_versions(database)
    monkeypatch.setattr(module, "STREAMS_PER_PAGE", 1)
    seen: list[str] = []
    interrupted_at = 5

    def counting(old: Mapping[str, Any]) -> dict[str, Any]:
        seen.append(str(old.get("event_id")))
        if len(seen) == interrupted_at:
            raise asyncio.CancelledError
        return done_becomes_handed_in(old)

    job = check_upcasters(replace(TWO_VERSIONS, upcasters=MappingProxyType({OLD: counting})))
    with pytest.raises(asyncio.CancelledError):
        await runner(database).run(job, CheckUpcasters())
    looked_at = len(seen)
    result = await runner(database).run(job, CheckUpcasters())

    # Of each stream two events are upcast: the good one on all three of its ways, the bad one on the first.
    assert (looked_at, len(seen) - looked_at) == (interrupted_at, 3 * 4 - 4)
    assert (result.run.counts["events"], result.run.counts["failed"]) == (12, 3)
    outcome = result.run.outcome or {}
    assert [each["events"] for each in outcome["events"]] == [6, 3]


async def test_a_selection_leaves_streams_out(database: Database) -> None:
    learners = await _both_versions(database)
    one = StreamSelection(streams=(learners["bob"][0]["stream_id"],))
    result = await runner(database).run(check_upcasters(TWO_VERSIONS), CheckUpcasters(of=one))
    assert result.run.counts["events"] == 4


async def test_the_command_says_what_today_s_contract_cannot_read(
    database: Database, environment: dict[str, str]
) -> None:
    await store(database, stored_events("ann", range(1, 13)))
    fine = await sevenp_worker(environment, "check-upcasters")
    assert (fine.code, "Every event can be read." in fine.output) == (ExitCode.OK, True), fine

    late = START + timedelta(days=1)
    future = [{**each, "schema_version": 2} for each in stored_events("bob", range(1, 3), late)]
    await store(database, [*future, quiz("cy", 1)])
    told = await sevenp_worker(environment, "check-upcasters", "--json")
    assert told.code == ExitCode.DIFFERENCE, told
    outcome = json.loads(told.output)["outcome"]
    reasons = {(each["reason"], each["event_type"]): each["events"] for each in outcome["failures"]}
    assert reasons == {
        ("unsupported_version", "course_enrolled"): 1,
        ("unsupported_version", "complete"): 1,
        ("unknown_event_type", "quiz_done"): 1,
    }
    shown = (await sevenp_worker(environment, "check-upcasters")).output
    assert "unsupported_version" in shown
    assert str(future[0]["_id"]) in shown
