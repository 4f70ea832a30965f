"""`promote` puts what was built beside the live documents in their place, and `rollback` puts them back."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from bson import ObjectId
from pydantic import JsonValue

from worker.errors import Misconfigured
from worker.jobs import operate
from worker.jobs.context import JobContext
from worker.jobs.job import Job, JobArguments, Outcome
from worker.jobs.naming import name_streams
from worker.jobs.rebuild_into import REBUILD_INTO, Name, RebuildInto, lock_of, shadow_of
from worker.jobs.rebuild_progress import added
from worker.storage import job_requests, job_runs, reading
from worker.storage.database import Collection, Database, Document
from worker.storage.job_models import JobRun
from worker.watch.folds.promotion import PART, Exchanged, Promotion, images_of
from worker.watch.folds.shadow import Shadow

# Documents of one step: a few MB, and some tenths of a second.
_AT_ONCE = 500
# A document that has moved since it was built is built again, so often; then it is named.
_ROUNDS = 3


class Promote(JobArguments):
    """Under which name the documents were built."""

    into: Name


class Rollback(JobArguments):
    """Which run of `promote` is to be undone."""

    promotion: str


async def promote(context: JobContext, arguments: Promote) -> Outcome:
    """Replace each live document that differs from what was built, and keep what it was.

    1. note what is exchanged, for whoever undoes it  2. a page of built documents that differ  3. exchange them; what
    has moved since is built again, and then exchanged  4. save the place. A page that is promoted twice changes
    nothing.
    """
    building = await _building(context, arguments.into)
    shadow = shadow_of(context, RebuildInto.model_validate(building.arguments))
    noted = {"collection": shadow.live.name, "paths": list(shadow.projection.paths)}
    checkpoint = context.checkpoint or {"after": None, "left": {}, **noted}
    if context.checkpoint is None:
        await context.total(building.counts.get("differing"))
        await context.advance(0, checkpoint)  # 1
    left: dict[str, Any] = dict(checkpoint["left"])
    run = _Exchange(context, shadow)
    async for page in _differing(shadow.collection, checkpoint["after"]):  # 2
        result = await _promoted(context, run, shadow, page)  # 3
        _name(left, result)
        checkpoint = {"after": str(page[-1]["_id"]), "left": left, **noted}
        await context.advance(len(page), checkpoint, **_counts("promoted", result))  # 4
    return {"built_by": building.id, **left}


async def rollback(context: JobContext, arguments: Rollback) -> Outcome:
    """Put back what a promotion has replaced, page by page of its before-images.

    1. a page  2. put back; a document that has moved since stays, or what came to it would be lost, and is named
    3. mark those among the before-images  4. save the place. A page that is put back twice changes nothing.
    """
    database = context.database
    promotion = await _promotion(context, arguments.promotion)
    noted = promotion.checkpoint or {}
    checkpoint = context.checkpoint or {"after": None, "left": {}}
    if context.checkpoint is None:
        await context.total(promotion.counts.get("promoted"))
    left, after = {**_expired(context, promotion), **checkpoint["left"]}, checkpoint["after"]
    while page := await images_of(database.before_images, promotion.id, after, _AT_ONCE):  # 1
        counts: dict[str, int] = {}
        for collection, some in groupby(page, itemgetter("collection")):
            run = _restoring(database, noted, promotion.id, collection)
            result = await run.restore([*some])  # 2
            await run.mark(result)  # 3
            _name(left, result)
            counts = added(counts, _counts("restored", result))
        after = page[-1]["_id"]
        await context.advance(len(page), {"after": after, "left": left}, **counts)  # 4
    return left


def _restoring(database: Database, noted: Mapping[str, Any], run: str, collection: str) -> Promotion:
    """What puts back the documents of a collection: those of streams, or parts of them."""
    live = database.home(collection).get_collection(collection)
    kind = "" if collection == noted["collection"] else PART
    paths = tuple(noted["paths"])
    return Promotion(live, database.before_images, paths, run, unvalidated=database.unvalidated, kind=kind)


class _Exchange:
    """Documents and their parts: the document of a stream waits until all parts of it are exchanged."""

    def __init__(self, context: JobContext, shadow: Shadow) -> None:
        images, run = context.database.before_images, context.run_id
        self._shadow = shadow
        self._heads = Promotion(shadow.live, images, shadow.projection.paths, run)
        self._parts: Promotion | None = None
        if shadow.parts is not None:
            live = shadow.parts.writer.collection
            self._parts = Promotion(live, images, shadow.parts.paths, run, kind=PART)

    async def promote(self, built: Sequence[Document], now: datetime) -> Exchanged:
        """Put what was built in place of what differs: parts first, so that none is named that is not there."""
        moved, refused = set[str](), set[str]()
        if self._parts is not None and self._shadow.parts is not None:
            async for page in self._shadow.parts.differing([each["stream_id"] for each in built]):
                some = await self._parts.promote(page, now)
                moved.update(some.moved)
                refused.update(some.refused)
        ready = [each for each in built if each["stream_id"] not in moved | refused]
        result = await self._heads.promote([each for each in ready if each["built"]["differs"]], now)
        right = [each["stream_id"] for each in ready if not each["built"]["differs"]]
        return Exchanged(
            [*right, *result.done],
            [*result.moved, *sorted(moved - refused)],
            [*result.refused, *sorted(refused)],
        )

    async def untouched(self, streams: Sequence[str]) -> list[str]:
        """Those of which nothing is kept, neither of the document nor of a part."""
        left = await self._heads.untouched(streams)
        return left if self._parts is None else await self._parts.untouched(left)


async def _promoted(
    context: JobContext, run: _Exchange, shadow: Shadow, page: Sequence[Document]
) -> Exchanged:
    """What became of a page; what has moved since it was built is built again, a few times.

    What moved after a former attempt of this run may have exchanged it stays as it is.
    """
    result = await run.promote(page, context.clock.now())
    done, refused, moved = [*result.done], [*result.refused], await run.untouched(result.moved)
    stays = [stream for stream in result.moved if stream not in moved]
    for _ in range(_ROUNDS):
        if not moved:
            break
        await shadow.build(moved)
        built = await shadow.stored(moved)
        result = await run.promote(built, context.clock.now())
        done, refused = [*done, *result.done], [*refused, *result.refused]
        absent = set(moved) - {each["stream_id"] for each in built}
        moved = [*result.moved, *absent]
    return Exchanged(done, [*stays, *moved], refused)


async def _differing(collection: Collection, after: str | None) -> AsyncGenerator[Sequence[Document]]:
    """The built documents that differ from the live ones, themselves or in their parts, in pages."""
    last = None if after is None else ObjectId(after)
    differs: Document = {"$or": [{"built.differs": {"$ne": []}}, {"built.parts_differ": True}]}
    while True:
        query: Document = {**differs, **({} if last is None else {"_id": {"$gt": last}})}
        found = await reading.find(collection, query, sort=[("_id", 1)], limit=_AT_ONCE)
        if not found.documents:
            return
        yield found.documents
        last = found.documents[-1]["_id"]


async def _building(context: JobContext, name: str) -> JobRun:
    """The run that built under the name last. Raises Misconfigured where none has come to its end."""
    found = await job_runs.newest_asked(context.database, REBUILD_INTO.name, {"into": name})
    again = f"`sevenp-worker rebuild progress --into {name}` builds it"
    if found is None:
        raise Misconfigured(f"nothing was built under the name {name}: {again}")
    if found.status != "succeeded":
        raise Misconfigured(
            f"what was to be built under the name {name} is {found.status}: {again} to its end"
        )
    return found


async def _promotion(context: JobContext, identity: str) -> JobRun:
    """The run to undo, over by now. Raises Misconfigured where it is none, is at work, or has exchanged nothing."""
    found = await job_runs.find_run(context.database, identity)
    if not isinstance(found, JobRun) or found.job != PROMOTE.name:
        raise Misconfigured(f"{identity!r} is no run of promote: `sevenp-worker jobs list` shows them")
    seen = await operate.find(context.database, identity)
    # One that was killed would go on, and promote the rest behind us, when its command is repeated.
    if seen.is_at_work or not await _is_over(context.database, seen.run):
        raise Misconfigured(
            f"{identity} is still at work, and would promote more behind us: end it by "
            f"`sevenp-worker jobs cancel {identity}`, and roll it back then"
        )
    if found.checkpoint is None:
        raise Misconfigured(f"{identity} has promoted nothing: there is nothing to put back")
    return found


def _expired(context: JobContext, promotion: JobRun) -> dict[str, Any]:
    """Since when before-images are still kept, where the promotion began earlier: what it did first stays."""
    kept_since = context.clock.now() - timedelta(days=context.settings.retention.before_images_days)
    return {"expired_before": kept_since.isoformat()} if promotion.started_at < kept_since else {}


async def _is_over(database: Database, promotion: JobRun) -> bool:
    """Whether it has come to its end, or was ended now; False if somebody has begun with it again."""
    over = promotion.status not in job_runs.UNFINISHED
    return over or await job_requests.end_cancelled(database, promotion, "it was rolled back")


def _name(left: dict[str, Any], result: Exchanged) -> None:
    """Name the streams whose documents stay as they are. All of them are marked among the before-images."""
    name_streams(left, "moved", result.moved)
    name_streams(left, "refused", result.refused)


def _counts(done: str, result: Exchanged) -> dict[str, int]:
    return {done: len(result.done), "moved": len(result.moved), "refused": len(result.refused)}


def _left_some(outcome: Mapping[str, JsonValue]) -> bool:
    return any(outcome.get(each) for each in ("moved_streams", "refused_streams", "expired_before"))


PROMOTE = Job(
    name="promote",
    arguments=Promote,
    run=promote,
    lock=lambda arguments: lock_of(arguments.into),
    about="built documents in place of the live ones that differ",
    differs=_left_some,
    has_dry_run=False,
)
ROLLBACK = Job(
    name="rollback",
    arguments=Rollback,
    run=rollback,
    lock=lambda arguments: f"rollback-{arguments.promotion}",
    about="the documents that a promotion has replaced, put back",
    differs=_left_some,
    has_dry_run=False,
)
