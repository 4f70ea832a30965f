"""One stream's fold with its failure as a value: the prefix before the failing event is kept."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from traceback import extract_tb
from typing import Any

from projections.event import StoredEvent
from projections.kinds import By, StreamProjection
from projections.paths import by_path
from worker.errors import ListNotStored, WorkerError
from worker.storage.database import Document
from worker.watch.folds.plan import Run, Task

# As types are named; what somebody wrote there instead could be anybody's text.
_TYPE = re.compile(r"[a-z][a-z0-9_.]{0,63}")


@dataclass(frozen=True, slots=True)
class Failure:
    """A stream that cannot go on at `version` with this code; `message` holds no values of the event.

    `event_id` and `event_type` are of the event to blame, where that is known. `pure`: the fold itself raised, which
    it would do again; the server, and whoever else writes, has no part in it.
    """

    stream: str
    version: int
    error_class: str
    message: str
    event_id: Any = None
    event_type: str | None = None
    pure: bool = False

    @property
    def data(self) -> Document:
        """Which event it is, as the item of the queue says it."""
        named = {"event_id": self.event_id, "event_type": self.event_type}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Folded:
    """`fields` after the first `count` events of the run (None if there are none), and what stopped the fold.

    `begun`: the fields are a document. `dotted` paths name the parts of fields that the projection owns. `theirs`:
    the stored document is the platform's own, and is not adopted.
    """

    run: Run
    fields: Document | None
    count: int
    failure: Failure | None = None
    begun: bool = True
    dotted: tuple[str, ...] = ()
    yields_to: str | None = None
    theirs: bool = False

    @property
    def task(self) -> Task:
        return self.run.task

    @property
    def unbegun(self) -> bool:
        """There is no document of ours, and what was folded makes none, or none any more."""
        document = self.task.document
        is_ours = document is not None and (self.yields_to is None or "stream_id" in document)
        return not self.begun and not is_ours

    def by_path(self, document: Document) -> Document:
        """What is folded, or stored, path by path."""
        return by_path(document, self.dotted) if self.dotted else document


def fold_run(projection: StreamProjection, run: Run, by: By, carry: Document | None = None) -> Folded:
    """Fold the run, or as many of its events as the fold takes.

    `carry` is what earlier pages of the same task gave. The failing event is found by folding prefixes of
    growing length, so that one at the front, the usual case, costs two folds.
    """
    if not run.events:
        return _folded(projection, run, carry, 0)
    fields, error = _attempt(projection, run, len(run.events), by, carry)
    if error is None:
        return _folded(projection, run, fields, len(run.events))
    good, bad, fields, step = 0, len(run.events), carry, 1
    while good + 1 < bad:
        middle = min(good + step, bad - 1)
        prefix, raised = _attempt(projection, run, middle, by, carry)
        if raised is None:
            good, fields, step = middle, prefix, step * 2
        else:
            bad, error, step = middle, raised, max(1, (middle - good) // 2)
    return _folded(projection, run, fields, good, failure_at(run.task.stream, run.events[good], error))


def _folded(
    projection: StreamProjection,
    run: Run,
    fields: Document | None,
    count: int,
    failure: Failure | None = None,
) -> Folded:
    begun = fields is None or projection.has_begun(fields)
    theirs = fields is not None and projection.leaves(run.task.document, fields)
    return Folded(run, fields, count, failure, begun, projection.dotted, projection.yields_to, theirs)


def refused(folded: Folded, message: str) -> Failure:
    """Which event of the run is to blame is not known: the run as a whole waits at its first one."""
    return Failure(folded.task.stream, folded.task.after + 1, "Refused", message)


def not_adopted(folded: Folded) -> Failure:
    """Nothing is written over what the platform has kept: `adopt` makes it the worker's."""
    return refused(folded, "the document that stands there is the platform's own, and is not adopted")


def failure_at(stream: str, event: Mapping[str, Any], error: Exception) -> Failure:
    """That a stream cannot go on at this event."""
    kind = event.get("event_type")
    return Failure(
        stream,
        event["version"],
        type(error).__name__,
        _safe(error),
        event_id=event.get("_id"),
        event_type=kind if isinstance(kind, str) and _TYPE.fullmatch(kind) else None,
        pure=not isinstance(error, MemoryError | ListNotStored),
    )


def _attempt(
    projection: StreamProjection, run: Run, count: int, by: By, carry: Document | None
) -> tuple[Document | None, Exception | None]:
    task = run.task
    try:
        events = [StoredEvent.from_document(event) for event in run.events[:count]]
        if task.refold and carry is None:
            return projection.refold(events, task.document, by), None
        return projection.fold(task.document if carry is None else carry, events, by), None
    except Exception as error:  # whatever a fold raises concerns this stream only
        return None, error


def _safe(error: Exception) -> str:
    """Where it happened. Only our own errors' sentences are known to hold no values of the event."""
    if isinstance(error, WorkerError):
        return str(error)
    frames = extract_tb(error.__traceback__)
    last = frames[-1]
    return f"{type(error).__name__} in {last.name} ({'/'.join(PurePath(last.filename).parts[-3:])}:{last.lineno})"
