"""The four kinds of projection, as frozen values: a feature declares one in its own file, `catalogue` registers it.

A value says everything that differs from projection to projection: what it is made of, how, and where it is kept.
Collections, validators, indexes, metric labels, queue items, `verify` and the choices of the commands are derived
from the registered values; an executor knows a kind, and no projection by name.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

from projections.event import READ_PATHS, StoredEvent
from worker.contract.family import LEARNER
from worker.contract.identity import stream_kind

Document = dict[str, Any]
By = Literal["live", "replay", "retry"]
"""Who folds: the follower of the event store, a job over the past, or the retry of what failed.

What a job has brought (`StoredEvent.origin`) belongs to the past whoever folds it.
"""
DatabaseName = Literal["content", "analytics", "config"]


@dataclass(frozen=True, slots=True)
class Index:
    """One index: `keys` in order, `options` as `createIndexes` takes them."""

    collection: str
    name: str
    keys: tuple[tuple[str, int | str], ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def specification(self) -> dict[str, Any]:
        """The index as the `createIndexes` command takes it."""
        return {"key": dict(self.keys), "name": self.name, **self.options}


@dataclass(frozen=True, slots=True)
class Target:
    """A collection that a projection writes: where it lies, the shapes its documents may have, and its indexes.

    The validator is made from the shapes. `schema apply` makes all of it.
    """

    collection: str
    shapes: tuple[type[BaseModel], ...]
    indexes: tuple[Index, ...] = ()
    database: DatabaseName = "content"


class Fold(Protocol):
    """From a document and the next events of its stream to the document after them. Pure."""

    def __call__(self, current: Mapping[str, Any] | None, events: Sequence[StoredEvent], by: By) -> Document:
        """All fields of the projection's `paths`; neither argument is changed.

        `current` is the stored document of this very version, None for a new stream; `events` are the next ones, in
        version order, voids included. The result is the same in any split of the events into batches. Raises for an
        event that it cannot take: the stream is then quarantined at it.
        """


class Refold(Protocol):
    """`Fold` of a whole stream from its first event."""

    def __call__(self, events: Sequence[StoredEvent], keep: Mapping[str, Any] | None, by: By) -> Document:
        """`keep` is the document so far, of any version: what must not be taken back is read there, and no more."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The functions by which a fold takes events, for whoever explains a document by names and docstrings.

    `every` takes each event, and after it the one in `by_type`. An event of a type that is not in there is taken by
    `every` alone.
    """

    every: Callable[..., Any]
    by_type: Mapping[str, Callable[..., Any]]


class MakeParts(Protocol):
    """From the next events of a stream to the parts that they make. Pure."""

    def __call__(
        self, document: Mapping[str, Any], due: Set[ObjectId], carry: Any, events: Sequence[StoredEvent]
    ) -> tuple[Any, Sequence[Document]]:
        """What to carry on to the next events, and those of the `due` parts that these ones complete.

        The events of the whole stream come in the order (occurred_at, event_id), without voids, in any split;
        `carry` is None for the first of them. `document` is folded from the same events. A part comes with its `_id`
        and all of `Parts.paths`. No argument is changed.
        """


@dataclass(frozen=True, slots=True)
class Parts:
    """Further documents of a stream, which its own document names.

    Whoever reads that document finds every part that it names: parts are written first. `named` gives them by `_id`,
    each with the version of the event that made it what it is: a part is made again when that has gone up, and one of
    a higher version is never replaced by one of a lower. Beside its `paths` the executor gives a part `stream_id`,
    `slot`, `event_version` (that version), `projection_version` and `rev`.
    """

    target: Target  # with an index that begins with `stream_id`
    paths: tuple[str, ...]  # all that a part has beside these
    named: Callable[[Mapping[str, Any]], Mapping[ObjectId, int]]
    make: MakeParts
    event_paths: tuple[str, ...]  # what is read of events to make parts


def kind_to_fold(stream: str) -> tuple[str, ...]:
    """What a stream's projections are about. A name of no known kind counts as a learner's, and fails there."""
    return stream_kind(stream) or LEARNER


def by_kind(heads: Mapping[str, int]) -> dict[tuple[str, ...], dict[str, int]]:
    """Streams, with their versions, by what they are about: each is asked once for all projections that there are."""
    found: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for stream, head in heads.items():
        found[kind_to_fold(stream)][stream] = head
    return found


@dataclass(frozen=True, slots=True)
class StreamProjection:
    """One stream of events becomes one document, and as many parts as that names.

    `_id` is derived from the stream (`stream_object_id`). The fold gives `stream_id`, `slot`, `version` (of the last
    event), `projection_version`, `recorded_at` (of the latest event) and what readers want; the executor adds `rev`,
    which guards every write. `version` goes up with every change of the fold: documents of an older one are folded
    anew, those of a newer one are left alone.
    """

    name: str
    version: int
    about: tuple[str, ...]  # the kind of stream it folds, as `contract.identity.stream_kind` names it
    target: Target
    paths: tuple[
        str, ...
    ]  # those it owns; of a dotted one (`a.b`) all other parts of the field are somebody else's
    fold: Fold
    refold: Refold
    event_paths: tuple[str, ...] = READ_PATHS  # what is read of events: `read_paths` of the details it folds
    large: str | None = None  # an array of documents of which an event changes few: it is compared as bytes
    rules: Rules | None = None  # what `explain` says of its fields beside the events that changed them
    reasons: tuple[
        str, ...
    ] = ()  # why events may be without effect: its documents say it in `without_effect`
    begun: Callable[[Document], bool] | None = None  # whether what was folded is a document yet; None: always
    parts: Parts | None = None  # further documents, which its document names
    yields_to: str | None = (
        None  # a key under which a document of the platform's own may stand: no other is made then
    )
    expires: str | None = (
        None  # when a document is over: the server removes it then, and nobody makes it again
    )
    adopted: Callable[[Document], datetime | None] | None = (
        None  # of a shared collection, when the last opening was: the platform's document stays without one
    )

    def folds(self, stream: str) -> bool:
        """Whether this stream is one of its kind."""
        return kind_to_fold(stream) == self.about

    def has_begun(self, fields: Document) -> bool:
        """Whether there is a document to be stored: until then its events wait, and nothing is missing."""
        return self.begun is None or self.begun(fields)

    def leaves(self, document: Mapping[str, Any] | None, fields: Document) -> bool:
        """Whether a document of the platform's own stands there, and none of the events folded says what it was.

        One that was the worker's, and became the platform's again, has seen the openings of before.
        """
        if document is None or self.adopted is None or "stream_id" in document:
            return False
        opened_at, seen = self.adopted(fields), document.get("recorded_at")
        return opened_at is None or (isinstance(seen, datetime) and opened_at <= seen)

    @property
    def may_be_absent(self) -> bool:
        """Whether a stream with events may rightly have no document: it has not begun, is over, or yields."""
        return (self.begun or self.expires or self.yields_to) is not None

    @property
    def dotted(self) -> tuple[str, ...]:
        """The paths that name parts of fields."""
        return tuple(path for path in self.paths if "." in path)

    @property
    def targets(self) -> tuple[Target, ...]:
        return (self.target,) if self.parts is None else (self.target, self.parts.target)


Vector: TypeAlias = Mapping[str, int]
"""What one document adds to the sums: integers by name, so that sums depend on no order."""


@dataclass(frozen=True, slots=True)
class Sum:
    """One sum of a `SumProjection`: what the vectors of the same `key` add up to.

    `key` is a field of the source's documents, whose value is the `_id` of the document in `collection` that shows
    the sum; where there is none, nothing is added. `shown` makes of the integers what readers see. `whole`: it sets
    its fields as a whole, so that integers which none of the key's vectors has are left out; else they are 0.
    """

    collection: str
    key: str
    shown: Callable[[Vector], Document]
    whole: bool = False


@dataclass(frozen=True, slots=True)
class SumProjection:
    """Documents of another projection become vectors of integers, and these become sums.

    What of each document has been counted is kept in `counted`, under the `_id` of the document: `source_rev` (the
    revision it was taken from), `counts_version`, `counted` (the vector) and the keys of the sums. One transaction
    replaces it and sums the keys concerned, so that at any snapshot a sum is the sum over all that is counted.
    `version` goes up with every change of `vector`: all is counted anew then. Source and sums lie in the database
    `content`, which is followed as a whole.
    """

    name: str
    version: int
    source: str  # the stream projection whose documents are counted, by name
    vector: Callable[[Mapping[str, Any]], Vector]
    counted: Target
    sums: tuple[Sum, ...]
    shows: tuple[Target, ...] = ()  # those collections of its sums that are the worker's own

    @property
    def targets(self) -> tuple[Target, ...]:
        return (self.counted, *self.shows)


@dataclass(frozen=True, slots=True)
class Trigger:
    """A change of one document of `collection` makes the view dirty that `key` names; None: no view.

    The key of a document never changes. The collection lies in the database `content`, which is followed as a whole.
    """

    collection: str
    key: Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Read:
    """What a view is built from: `query` gives, for a view's key, the filter of one collection."""

    collection: str
    query: Callable[[Any], Mapping[str, Any]]
    paths: tuple[str, ...]
    most: int = 10_000  # documents; a view of more must be summed first


@dataclass(frozen=True, slots=True)
class ReadModel:
    """A dirty key becomes a rebuilt view.

    The executor reads what `reads` name, in one snapshot, and `build` makes the view of it, or None where there is
    nothing to show: the view is removed then. It stands under the key as `_id`, with `as_of`, the time of that
    snapshot; an older view never takes the place of a newer one. A view is rebuilt at most once in `freshness_s`.
    """

    name: str
    version: int
    target: Target
    triggers: tuple[Trigger, ...]
    reads: Mapping[str, Read]
    build: Callable[[Any, Mapping[str, Sequence[Document]]], Document | None]
    freshness_s: float = 1.0

    @property
    def targets(self) -> tuple[Target, ...]:
        return (self.target,)


@dataclass(frozen=True, slots=True)
class Decided:
    """What a contest gives one document: a value by path. A path of the contest that is not in there is removed.

    `reason` says in one word why the document does not get what it asks for, `message` in a sentence; neither holds a
    value of a document.
    """

    values: Mapping[str, Any]
    reason: str | None = None
    message: str = ""


Entry: TypeAlias = Mapping[str, Any]
"""How a document contends: `keys`, where it meets others, and `entry`, by which it is decided.

One that was decided has an `outcome` besides. All of it is kept beside the document, and holds no value of it.
"""


class Decide(Protocol):
    """From what was decided, and what has changed since, to what is decided now. Pure."""

    def __call__(
        self, known: Mapping[ObjectId, Entry], changed: Mapping[ObjectId, Entry | None]
    ) -> Mapping[ObjectId, Any]:
        """Outcomes of all `changed` that contend, and of each other one whose outcome may be another now.

        `known` are entries with the outcomes that were right before the change, complete in themselves: whoever meets
        one of them, or one of the changed, is there. `changed` are those as they are now, None where one contends no
        more. The outcomes depend on the entries that there are now, and on nothing else.
        """


@dataclass(frozen=True, slots=True)
class EarliestClaim:
    """Of all that claim a value of a path the earliest has it, unless a document of the platform's own does."""


@dataclass(frozen=True, slots=True)
class NoCycle:
    """Documents are edges, of several kinds: one that closes a cycle with earlier ones that stand does not stand."""

    parent: str
    child: str
    edge_kind: str


@dataclass(frozen=True, slots=True)
class Contest:
    """Documents of one collection ask for what not all of them can have; who gets it depends on nothing but them.

    `keys` says where a document meets others: two that have a key in common contend. `entry` is what it is decided by
    (see `Entry`), `decide` decides, and `given` makes of a document and its outcome (None: it contends for nothing)
    what it gets; None for one that is left alone: it is the platform's. They see `_id`, `reads` and `paths` only. The
    `paths` are written by the contest alone; `contenders` (see `contenders_target`) keeps how each document contends.
    `version` goes up with every change of one of the functions: all is decided anew then.

    `rule` names what is decided, for `verify`, which has a way of its own to it.
    """

    name: str
    version: int
    source: str  # the stream projection whose documents contend, by name
    paths: tuple[str, ...]
    reads: tuple[str, ...]
    rule: EarliestClaim | NoCycle
    keys: Callable[[Mapping[str, Any]], Sequence[str]]
    entry: Callable[[Mapping[str, Any]], Any]
    decide: Decide
    given: Callable[[Mapping[str, Any], Any], Decided | None]
    contenders: Target

    @property
    def targets(self) -> tuple[Target, ...]:
        return (self.contenders,)

    @property
    def unique(self) -> bool:
        """Whether no two documents may have the same value in one of the paths."""
        return isinstance(self.rule, EarliestClaim)


def _absent() -> Any:
    """Default of a field that the release before does not write."""
    return None


class Contender(BaseModel):
    """What a document was decided with: its entry, a digest of all that was read of it, and why it lost, if it did.

    All that have a key in common have the same `part`.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    id: ObjectId = Field(alias="_id")
    keys: list[str]
    seen: bytes
    contest_version: int
    reason: str | None
    part: ObjectId = Field(default_factory=_absent)
    entry: Any = Field(default_factory=_absent)
    outcome: Any = Field(default_factory=_absent)


def contenders_target(collection: str) -> Target:
    """The collection of the worker's own in which a contest keeps its contenders."""
    indexes = (
        # Who meets whom.
        Index(collection, f"idx_{collection}_keys", (("keys", 1),)),
        # All that are connected, in one read.
        Index(collection, f"idx_{collection}_part", (("part", 1),)),
        # How many have lost.
        Index(
            collection,
            f"idx_{collection}_reason",
            (("reason", 1),),
            {"partialFilterExpression": {"reason": {"$gt": ""}}},
        ),
    )
    return Target(collection, (Contender,), indexes)


Projection: TypeAlias = StreamProjection | SumProjection | ReadModel | Contest


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The registered projections. It is handed to whoever works on them; nothing registers itself."""

    projections: tuple[Projection, ...]

    @property
    def streams(self) -> tuple[StreamProjection, ...]:
        return tuple(each for each in self.projections if isinstance(each, StreamProjection))

    @property
    def sums(self) -> tuple[SumProjection, ...]:
        return tuple(each for each in self.projections if isinstance(each, SumProjection))

    @property
    def models(self) -> tuple[ReadModel, ...]:
        return tuple(each for each in self.projections if isinstance(each, ReadModel))

    @property
    def contests(self) -> tuple[Contest, ...]:
        return tuple(each for each in self.projections if isinstance(each, Contest))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.projections)

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(target for each in self.projections for target in each.targets)
