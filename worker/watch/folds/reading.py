"""What a round of folding reads: records and events, bounded by bytes, whatever is in them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from projections.event import READ_PATHS
from projections.paths import fields_of
from worker.chunks import chunks
from worker.contract.identity import stream_object_id
from worker.storage.database import Collection, Database, Document
from worker.storage.lesson_lists import with_lists
from worker.storage.reading import Reading, Unreadable, find, find_one
from worker.storage.skipped_versions import NO_SKIPS, Skips
from worker.watch.folds.plan import Run, Task, run_of

# Decoded, folded and encoded they take some ten times as much.
_RECORD_BYTES = 2_000_000
# Of records whose largest array stays bytes it is less than six times; one of 1,000 lessons has about 0.6 MB. Those
# of a round of 500 learners with 66 lessons each fit: what does not fit has been sent for nothing.
_PARTLY_DECODED_BYTES = 3_500_000
_EVENT_BYTES = 4_000_000
# As many as a round has. Reading by event id would make a datum of the change event; one `$in` reads whole histories.
_STREAMS_PER_QUERY = 500
# Without a hint the server plans every range by itself, which may take as long as reading them.
_EVENT_INDEX = [("stream_id", 1), ("version", 1)]

# Of a document that cannot be read: without these it is made again, whatever it says.
_CLAIMS = ("version", "projection_version")


@dataclass(frozen=True, slots=True)
class Records:
    """Records by stream; a stream that is in neither has none. `unread` did not fit."""

    documents: dict[str, Document]
    unread: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Runs:
    """What was read for each task, perhaps for less of it than asked; `unread` tasks did not fit."""

    runs: list[Run]
    unread: list[Task]


async def read_records(
    collection: Collection, paths: Sequence[str], streams: Iterable[str], *, as_bytes: str | None = None
) -> Records:
    """As many of the streams' records as fit, one at least: these paths of them, and the revision.

    A field of which a path names a part is read as a whole: whether there can be parts is seen by it. The array
    `as_bytes` is a `StoredArray`.
    One that Python cannot hold comes without what makes it so, and without version: it is made again from its events.
    """
    by_id = {stream_object_id(stream): stream for stream in streams}
    found = await find(
        collection,
        {"_id": {"$in": list(by_id)}},
        dict.fromkeys((*fields_of(paths), "rev"), 1),
        sort=[("_id", 1)],
        max_bytes=_RECORD_BYTES if as_bytes is None else _PARTLY_DECODED_BYTES,
        as_bytes=as_bytes,
    )
    remains = [await _remains(collection, paths, one) for one in found.unreadable]
    documents = {by_id[one["_id"]]: one for one in [*found.documents, *remains]}
    if found.complete:
        return Records(documents)
    last = max(stream_object_id(stream) for stream in documents)
    return Records(documents, frozenset(stream for identity, stream in by_id.items() if identity > last))


async def _remains(collection: Collection, paths: Sequence[str], record: Unreadable) -> Document:
    """What can be read of it, path by path: a re-fold keeps what must not be taken back."""
    remains: Document = {"_id": record.id}
    for path in ("rev", *(path for path in fields_of(paths) if path not in _CLAIMS)):
        found = await find_one(collection, {"_id": record.id}, {path: 1})
        if isinstance(found, dict):
            remains |= found
    return remains


async def read_runs(
    database: Database, tasks: Sequence[Task], paths: Iterable[str] = READ_PATHS, skips: Skips = NO_SKIPS
) -> Runs:
    """The events of as many tasks as fit, of one at least, whatever else is stored by now.

    With a void in place of each that is to be left out, and with the lists of lessons that they name.
    """
    result = Runs([], [])
    left = _EVENT_BYTES
    for some in chunks(tasks, _STREAMS_PER_QUERY):
        if left <= 0:
            result.unread.extend(some)
            continue
        reading = await _read(database, some, left, paths)
        left -= reading.size_bytes
        events = [*reading.documents, *[await _place(database, one) for one in reading.unreadable]]
        taken = await with_lists(database, skips.applied(filter(None, events)))
        _sort_in(result, some, taken, complete=reading.complete)
    return result


async def _read(database: Database, tasks: Iterable[Task], max_bytes: int, paths: Iterable[str]) -> Reading:
    query, wanted = {"$or": _ranges(tasks)}, dict.fromkeys(paths, 1)
    found = await find(database.course_events, query, wanted, hint=_EVENT_INDEX, max_bytes=max_bytes)
    if found.complete:
        return found
    # In order, which takes a tenth longer: only so is it known what was read. The first reading is let go before.
    del found
    return await find(
        database.course_events,
        query,
        wanted,
        hint=_EVENT_INDEX,
        sort=_EVENT_INDEX,
        max_bytes=max_bytes,
    )


def _ranges(tasks: Iterable[Task]) -> list[Document]:
    """What to read, streams with the same versions to be read together: most have come by the same few events."""
    alike: dict[tuple[int, int], list[str]] = defaultdict(list)
    for task in tasks:
        alike[task.after, task.upto].append(task.stream)
    return [
        {"stream_id": {"$in": streams}, "version": {"$gt": after, "$lte": upto}}
        for (after, upto), streams in alike.items()
    ]


async def _place(database: Database, event: Unreadable) -> Document:
    """Where in its stream an event stands that cannot be read: its fold fails there, and nowhere else."""
    found = await find_one(database.course_events, {"_id": event.id}, {"stream_id": 1, "version": 1})
    return found if isinstance(found, dict) else {}


def _sort_in(result: Runs, tasks: Sequence[Task], events: Iterable[Document], *, complete: bool) -> None:
    """Each task's events; where reading ended early, the stream of the last one is cut behind it."""
    found: dict[str, list[Document]] = {task.stream: [] for task in tasks}
    for event in events:
        found[event["stream_id"]].append(event)
    last = "" if complete else max(stream for stream, some in found.items() if some)
    for task in tasks:
        some = found[task.stream]
        if complete or task.stream < last:
            result.runs.append(run_of(task, some))
        elif task.stream == last:
            upto = max(event["version"] for event in some)
            run = run_of(replace(task, upto=upto), some)
            result.runs.append(replace(run, cut=upto < task.upto))
        else:
            result.unread.append(task)
