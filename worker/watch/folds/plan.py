"""What a round of folding does with each dirty stream: decided from values alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import eq
from types import MappingProxyType
from typing import Any

from worker.storage.arrays import StoredArray
from worker.storage.database import Document
from worker.storage.encoding import encoded, same

_NONE: Mapping[str, bool] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Task:
    """Fold the events `after` < version <= `upto` of one stream into its document.

    `document` is the stored one, None if there is none. `refold`: start from nothing, because the document was
    made by an older fold (or by nobody's), or is not to be believed. `replaces`: the result stands even where the
    stored document claims more events.
    """

    stream: str
    document: Document | None
    after: int
    upto: int
    refold: bool = False
    replaces: bool = False

    @property
    def events(self) -> int:
        return self.upto - self.after


@dataclass(frozen=True, slots=True)
class Plan:
    """What a round folds. `later` holds the versions to reach in a next round.

    `stale` counts documents of a newer fold; `frozen` are those of their streams that have moved on.
    `blocked` streams stand right before the event at which this code failed.
    """

    tasks: list[Task] = field(default_factory=list)
    later: dict[str, int] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)
    stale: int = 0
    frozen: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Run:
    """The events a task can fold now, in version order without a hole, and what stopped them.

    `missing` are the versions of a hole below a stored event. `short`: the events end before the task does, and
    nothing is stored behind. `cut`: more may be stored behind the end of the task, which is that of what was read.
    """

    task: Task
    events: Sequence[Document]
    missing: Sequence[int] = ()
    short: bool = False
    cut: bool = False


def plan_round(
    heads: Mapping[str, int],
    documents: Mapping[str, Document],
    blocked: Mapping[str, int],
    projection_version: int,
    limit: int,
    *,
    doubted: Mapping[str, bool] = _NONE,
    as_far_as_folded: bool = False,
) -> Plan:
    """Which streams to fold in this round, about `limit` events in all, and how far.

    `heads` are the versions to reach, `blocked` the versions at which a fold of this very code raised. A stream
    with more than `limit` events is folded page by page, one of them a round. `doubted` streams are folded from their
    first event whatever their documents say; true for one whose events were sought behind a barrier: there are no
    more. `as_far_as_folded`: not beyond the version that their documents claim.
    """
    plan = Plan()
    stale, room = 0, limit
    for stream, head in heads.items():
        document = documents.get(stream)
        if document is not None and number_in(document, "projection_version") > projection_version:
            stale += 1
            if number_in(document, "version") < head:
                plan.frozen.append(stream)
            continue
        task = needed(stream, head, document, projection_version)
        if stream in doubted and document is not None:
            claimed = number_in(document, "version")
            upto = claimed if as_far_as_folded and claimed > 0 else max(head, claimed)
            task = Task(stream, document, 0, upto, refold=True, replaces=doubted[stream])
        if task is None:
            continue
        if _blocked(task, blocked.get(stream)):
            plan.blocked.append(stream)
            continue
        if room <= 0:
            plan.later[stream] = head
            continue
        if not task.refold and task.events > limit:
            plan.later[stream] = head
            task = replace(task, upto=task.after + limit)
        room -= task.events
        plan.tasks.append(task)
    return replace(plan, stale=stale)


def _blocked(task: Task, failing: int | None) -> bool:
    """True while the task would end at the very event at which this code failed before."""
    return failing is not None and (task.refold or task.after + 1 == failing)


def needed(stream: str, head: int, document: Document | None, projection_version: int) -> Task | None:
    """What brings a document, not made by a newer fold, up to `head`; None if it is there."""
    if document is None:
        return Task(stream, None, 0, head)
    version = number_in(document, "version")
    if document.get("projection_version") != projection_version:
        return Task(stream, document, 0, max(head, version), refold=True)
    return Task(stream, document, version, head) if version < head else None


def run_of(task: Task, events: Iterable[Document]) -> Run:
    """Order the events of a task and cut them at the first hole."""
    ordered = sorted(events, key=lambda event: event["version"])
    for index, event in enumerate(ordered):
        expected = task.after + index + 1
        if event["version"] != expected:
            return Run(task, ordered[:index], missing=range(expected, event["version"]))
    return Run(task, ordered, short=len(ordered) < task.events)


def changed(document: Mapping[str, Any], fields: Mapping[str, Any], *, exactly: bool = False) -> Document:
    """The owned paths that differ from the stored document; `exactly`: in type, too.

    Of an array that came as bytes they are its entries that differ, if these are few.
    """
    if exactly and _identical(document, fields):
        return {}
    alike = same if exactly else eq
    differing: Document = {}
    for name, value in fields.items():
        stored = document.get(name)
        if isinstance(stored, StoredArray):
            differing.update(stored.changes(name, value))
        elif name not in document or not alike(stored, value):
            differing[name] = value
    return differing


def _identical(document: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Equal to the byte: so are nearly all that are equal, which this tells three times as fast."""
    if not document.keys() >= fields.keys():
        return False
    stored, wanted = encoded({name: document[name] for name in fields}), encoded(dict(fields))
    return stored is not None and wanted is not None and stored.raw == wanted.raw


def number_in(document: Mapping[str, Any], name: str) -> int:
    """An integer that only we write; 0 where somebody put something else there."""
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
