"""Which streams of the event store a job is about, walked page by page, so that a walk goes on where it stopped."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, model_validator

from worker.chunks import chunks
from worker.contract.families import EVENT_TYPES
from worker.contract.identity import stream_kind
from worker.storage import reading
from worker.storage.database import Database, Document

# A page is a second of work at most, after which whoever works looks up.
STREAMS_PER_PAGE = 500
# The server hands out the first name only when it has gathered 4 MB of them, or all: 40 ms of 20,000 streams, however
# few are asked for. So many names take half a megabyte here.
_NAMES_AT_ONCE = 5_000
# Of streams, downwards: with this order and grouping the server jumps from one to the next in the unique index.
_EACH: Sequence[Document] = ({"$sort": {"stream_id": -1}}, {"$group": {"_id": "$stream_id"}})
_OBJECT_ID_DIGITS = 24


def _stream(name: str) -> str:
    if stream_kind(name) is None:
        raise ValueError(f"no stream has the name {name[:100]!r}: it is course_<id>_user_<id>")
    return name


def _identity(digits: str) -> str:
    if len(digits) != _OBJECT_ID_DIGITS or not set(digits.lower()) <= set("0123456789abcdef"):
        raise ValueError(f"{digits[:100]!r} is no id: it has 24 hexadecimal digits")
    return digits.lower()


def _event_type(name: str) -> str:
    if name not in EVENT_TYPES:
        raise ValueError(f"no event has the type {name[:100]!r}; known are {', '.join(sorted(EVENT_TYPES))}")
    return name


class StreamSelection(BaseModel):
    """Streams that meet everything given; all of them where nothing is.

    A stream is selected as a whole: by `event_types`, `since` and `until` it is if one of its events is of one of the
    types and was recorded in that time (`until` is the first moment after it).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    streams: tuple[Annotated[str, AfterValidator(_stream)], ...] = ()
    learner: Annotated[str, AfterValidator(_identity)] | None = None
    course: Annotated[str, AfterValidator(_identity)] | None = None
    event_types: tuple[Annotated[str, AfterValidator(_event_type)], ...] = ()
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "StreamSelection":
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("the time selected ends before it begins")
        return self

    @property
    def everything(self) -> bool:
        """True if nothing is given that would leave anything out."""
        return self == StreamSelection()

    def names(self, below: str | None) -> Document:
        """What the names of the selected streams fulfil, of those before `below`."""
        conditions: list[Document] = []
        if below is not None:
            conditions.append({"stream_id": {"$lt": below}})
        if self.streams:
            conditions.append({"stream_id": {"$in": sorted(set(self.streams))}})
        if self.course is not None:
            # `course_<id>` itself, and every name that goes on behind it: "`" comes after "_".
            first = f"course_{self.course}"
            conditions.append({"stream_id": {"$gte": first, "$lt": f"{first}`"}})
        if self.learner is not None:
            conditions.append({"stream_id": {"$regex": f"(^|_)user_{self.learner}$"}})
        return {"$and": conditions} if conditions else {}

    def events(self) -> Document:
        """What one of the events of a selected stream fulfils; empty where any will do."""
        recorded = {"$gte": self.since, "$lt": self.until}
        recorded = {bound: moment for bound, moment in recorded.items() if moment is not None}
        query: Document = {"recorded_at": recorded} if recorded else {}
        return {**query, "event_type": {"$in": list(self.event_types)}} if self.event_types else query


@dataclass(frozen=True, slots=True)
class StreamPage:
    """Selected streams; `below` is where the walk goes on, whether the page has any or not."""

    streams: tuple[str, ...]
    below: str


async def selected_pages(
    database: Database,
    selection: StreamSelection,
    *,
    below: str | None = None,
    most: int = STREAMS_PER_PAGE,
) -> AsyncGenerator[StreamPage]:
    """Every selected stream that has events, by name downwards, from `below` on, `most` on a page.

    No cursor stays open: the walk may rest for hours between two pages. Streams that appear meanwhile may be missed.
    """
    while names := await _next_names(database, selection, below, max(most, _NAMES_AT_ONCE)):
        below = names[-1]
        for named in chunks(names, most):
            yield StreamPage(await _with_events(database, selection, named), named[-1])


async def count_streams(database: Database, selection: StreamSelection) -> int | None:
    """How many streams there are to walk, for a bar; None where counting would be a walk of its own."""
    if selection.events() or selection.learner is not None:
        return None
    count: list[Document] = [{"$match": selection.names(None)}, *_EACH, {"$count": "streams"}]
    found = await reading.aggregate(database.course_events, count)
    return int(found.documents[0]["streams"]) if found.documents else 0


async def _next_names(
    database: Database, selection: StreamSelection, below: str | None, most: int
) -> list[str]:
    """Grouping promises no order, it comes with the index: where it does not, the server is asked to sort."""
    matching: Document = {"$match": selection.names(below)}
    limit: Document = {"$limit": most}
    if selection.learner is None:
        names = await _names(database, [matching, *_EACH, limit])
        if all(after < before for before, after in pairwise(names)):
            return names
    return await _names(database, [matching, *_EACH, {"$sort": {"_id": -1}}, limit])


async def _names(database: Database, pipeline: Sequence[Document]) -> list[str]:
    found = await reading.aggregate(database.course_events, pipeline)
    return [row["_id"] for row in found.documents if isinstance(row["_id"], str)]


async def _with_events(
    database: Database, selection: StreamSelection, named: Sequence[str]
) -> tuple[str, ...]:
    """Those of the streams that have an event as it is selected."""
    if not (query := selection.events()):
        return tuple(named)
    wanted = {"$match": {"stream_id": {"$in": list(named)}, **query}}
    return tuple(await _names(database, [wanted, *_EACH, {"$sort": {"_id": -1}}]))
