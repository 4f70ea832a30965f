"""What a contest has decided, and what stands there afterwards."""

from typing import Any

from projections.kinds import Contest
from tests.support.counts import dependencies
from worker.storage.database import Collection, Database, Document
from worker.verify.contests_check import check_contest
from worker.verify.run import Checks
from worker.watch.roles import contenders


async def decide(database: Database, contest: Contest) -> None:
    """What the follower does with all that has moved."""
    given = dependencies(database)
    kept = next(each for each in contenders(given) if each.name == contest.name)
    async for page in kept.missed():
        await kept.decide(page)
    await given.transactions.close()


async def waiting(database: Database) -> dict[str, str]:
    """By id the class of the error for which an item of the queue is not completed."""
    items = await database.analytics_queue.find({"status": {"$ne": "completed"}}).to_list(None)
    return {each["_id"]: each["error_class"] for each in items}


async def kept_fields(collection: Collection) -> dict[Any, Document]:
    """All documents by id, but for what a write always changes."""
    found = await collection.find({}).to_list(None)
    return {
        each["_id"]: {name: each[name] for name in each if name not in ("rev", "recorded_at")}
        for each in found
    }


async def contest_findings(database: Database, contest: Contest) -> list[Any]:
    """What `verify` finds of it while nothing moves."""
    checks = await Checks.opened(database, quiescent=True)
    await check_contest(checks.run, contest)
    return list(checks.run.tally.findings)
