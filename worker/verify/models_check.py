"""Checks read models: each view is what is built again of the documents it is made from."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from projections.kinds import ReadModel
from worker.contract.reserved import NOT_RESERVED
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.work_items import fold_item_id, fold_type
from worker.verify.findings import Fault, Finding, Run, differs, subject_of
from worker.verify.queue_check import open_items
from worker.verify.reading import absent, hashable, pages
from worker.verify.sameness import differing
from worker.verify.snapshots import Snapshot, Snapshots

_VIEWS_AT_ONCE = 100  # each is built again of all that it is made from
# A view is built again within its freshness; a busy machine may take longer.
_SECOND_LOOK_S = 10.0


@dataclass(frozen=True, slots=True)
class View:
    """One view as it is stored, and as it must be; None is no view. `failed` says why it cannot be built."""

    key: Any
    stored: Document | None
    expected: Document | None
    failed: str | None = None

    @property
    def as_of(self) -> Any:
        return (self.stored or {}).get("as_of")


def audit_view(model: ReadModel, view: View) -> list[Finding]:
    """Whether the view is there, and shows what it must."""
    subject, about = (
        subject_of(model.target.collection, {"_id": view.key}),
        (model.target.collection, view.key),
    )
    if view.failed is not None:
        return [Finding(model.name, Fault.BUILD_FAILED, subject, view.failed, about=about)]
    if view.expected is None:
        detail = "a view of what is not there"
        return [Finding(model.name, Fault.UNKNOWN, subject, detail, about=about)] if view.stored else []
    if view.stored is None:
        return [Finding(model.name, Fault.MISSING, subject, "no view", about=about)]
    what = "differs from what it is made from in"
    return list(differs(model.name, subject, what, differing(view.expected, view.stored), about=about))


async def check_model(run: Run, model: ReadModel) -> None:
    """Put into the run's tally what is wrong. Only reads.

    1. views that are there, and keys that documents name  2. a second look at those that seem wrong: one that was
    built again meanwhile may have missed only the last change.
    """
    counts, quiescent = run.tally.by_projection[model.name], run.grace.quiescent
    suspects: dict[Any, Any] = {}
    read = partial(_views, model=model)
    async with Snapshots.opened(run) as snapshots:
        async for keys in _keys(run.database, model, snapshots):  # 1
            views = await snapshots.read(read, keys)
            counts.documents += sum(view.stored is not None for view in views)
            suspects |= {hashable(view.key): view for view in views if audit_view(model, view)}
        if suspects and not quiescent:  # 2
            await run.clock.sleep(model.freshness_s + _SECOND_LOOK_S)
        for before in suspects.values():
            item = fold_item_id(before.key, model.name)
            for view in await snapshots.read(read, [before.key]):
                findings = audit_view(model, view)
                counts.behind += bool(findings)
                if findings and await open_items(run.database, fold_type(model.name), [item]):
                    counts.quarantined += 1
                elif quiescent or view.as_of == before.as_of:
                    run.tally.report(findings)


async def _keys(database: Database, model: ReadModel, snapshots: Snapshots) -> AsyncIterator[list[Any]]:
    """Keys of all views, and those that have none though a document names them."""
    views = database.collection(model.target.collection)
    async for ids in snapshots.ids(views, _VIEWS_AT_ONCE):
        yield ids
    for trigger in model.triggers:
        async for page in pages(database.collection(trigger.collection), NOT_RESERVED, most=_VIEWS_AT_ONCE):
            named = page.through(trigger.key).values
            if keys := await absent(views, [key for key in named if key is not None]):
                yield keys


async def _views(snapshot: Snapshot, keys: Sequence[Any], model: ReadModel) -> list[View]:
    """The views of these keys, stored and built again."""
    stored = await snapshot.by_id(snapshot.database.collection(model.target.collection), keys, None)
    return [await _view(snapshot, model, key, stored.get(hashable(key))) for key in keys]


async def _view(snapshot: Snapshot, model: ReadModel, key: Any, stored: Document | None) -> View:
    documents = {}
    for name, read in model.reads.items():
        collection, paths = snapshot.database.collection(read.collection), dict.fromkeys(read.paths, 1)
        query = {"$and": [read.query(key), NOT_RESERVED]}
        found = await reading.find(collection, query, paths, session=snapshot.session, limit=read.most)
        documents[name] = found.documents
    try:
        return View(key, stored, model.build(key, documents))
    except Exception as error:  # one view's documents: the others are still checked
        return View(key, stored, None, f"{type(error).__name__} while it was built")
