"""Documents of shared collections that the platform kept: each becomes one opening event of its own stream.

Nothing else is written here. The fold makes the document of the event, as of any other, in place of what stands
there, from the revision it has: so a run may be killed anywhere, started twice, and run beside live folding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo.errors import BulkWriteError

from projections.account.opening import opening_record as user_record
from projections.content.courses.opening import opening_record as course_record
from projections.event import OPENING, StoredEvent
from projections.kinds import Document, StreamProjection
from projections.unfit import Unfit
from worker.adopt.comparison import differing
from worker.adopt.outcome import DocumentAdopted, Reason, SetAside
from worker.adopt.platform import FOREIGN, LONGEST_BYTES
from worker.contract.reserved import is_reserved
from worker.errors import Retryable
from worker.storage import reading
from worker.storage.database import Database
from worker.storage.documents import opening_of_entity
from worker.storage.errors import translated, write_failures
from worker.storage.reading import Unreadable
from worker.storage.stream_versions import highest_of
from worker.timing import Clock

RecordOf = Callable[[Mapping[str, Any]], Document]
"""The record of a document in the words of its projection's fold; raises `Unfit`."""

RECORDS: Mapping[str, RecordOf] = {"courses": course_record, "users": user_record}
"""By collection."""

# Between reading how far a stream goes and storing its next version an event may come in: at once, and seldom.
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class _Opened:
    """A document that makes sense: its stream, and the record that its opening event will hold."""

    name: str
    stream: str
    record: Document
    raw: bytes
    changed: Sequence[str]


@dataclass(frozen=True, slots=True)
class SharedDocuments:
    """The platform's documents of one collection that is the worker's now. `run` is named in every opening event."""

    database: Database
    projection: StreamProjection
    run: str
    clock: Clock

    @property
    def collection(self) -> str:
        return self.projection.target.collection

    async def show(self, identities: Sequence[Any]) -> list[DocumentAdopted | SetAside]:
        """What would become of these documents; writes nothing."""
        found = await self._read(identities)
        return [self._adopted(each) if isinstance(each, _Opened) else each for each in found]

    async def open(self, identities: Sequence[Any]) -> list[DocumentAdopted | SetAside]:
        """Store the opening events of these documents; their streams are to be folded afterwards.

        One whose opening this run has stored already gets no second one: the fold alone is missing.
        """
        found = await self._read(identities)
        opened = [each for each in found if isinstance(each, _Opened)]
        await self._store(opened)
        return [self._adopted(each) if isinstance(each, _Opened) else each for each in found]

    def _adopted(self, opened: _Opened) -> DocumentAdopted:
        return DocumentAdopted(opened.name, opened.stream, opened.changed)

    async def _read(self, identities: Sequence[Any]) -> list[_Opened | SetAside]:
        """1. read  2. what cannot be read, or makes no sense, is set aside  3. what the fold would make of it."""
        query = {"_id": {"$in": list(identities)}, **FOREIGN}
        raws = await reading.find_raw(self.database.collection(self.collection), query, sort=[("_id", 1)])
        return [self._look(raw) for raw in raws]

    def _look(self, raw: bytes) -> _Opened | SetAside:
        document = reading.decoded_one(self.collection, raw)
        if isinstance(document, Unreadable):
            return SetAside(self._name(document.id), Reason.UNREADABLE, document.reason, document.id)
        identity = document["_id"]
        name = self._name(identity)
        if len(raw) > LONGEST_BYTES:
            return SetAside(name, Reason.TOO_LARGE, f"the document has more than {LONGEST_BYTES} bytes")
        if not isinstance(identity, ObjectId):
            return SetAside(name, Reason.UNFIT, "its _id is no ObjectId, and no event could name it")
        stream = f"{self.projection.about[0]}_{identity}"
        if is_reserved(stream):
            return SetAside(name, Reason.RESERVED, "its id is reserved")
        try:
            record = RECORDS[self.collection](document)
        except Unfit as error:
            return SetAside(name, Reason.UNFIT, str(error))
        event = self._event(stream, 1, record, raw, self.clock.now())
        try:
            folded = self.projection.refold([StoredEvent.from_document(event)], None, "replay")
        except Exception as error:  # whatever a fold raises concerns this document
            return SetAside(name, Reason.NOT_FOLDABLE, f"folding it raises {type(error).__name__}")
        return _Opened(name, stream, record, raw, differing(document, folded, self.projection.paths))

    def _event(self, stream: str, version: int, record: Document, raw: bytes, now: datetime) -> Document:
        return opening_of_entity(stream, version, record, raw, now, self.run)

    def _name(self, identity: Any) -> str:
        return f"{self.collection} {reading.name_of(identity)}"

    async def _store(self, opened: Sequence[_Opened]) -> None:
        """Append each event to its stream, at the version that comes next there; the unique index decides."""
        left = {each.stream: each for each in opened}
        for _ in range(_ATTEMPTS):
            for stream in await self._opened_before(left):
                del left[stream]
            if not left:
                return
            rows = await reading.aggregate(self.database.course_events, highest_of(list(left)))
            heads = {row["_id"]: row["version"] for row in rows.documents}
            now = self.clock.now()
            events = [
                self._event(stream, heads.get(stream, 0) + 1, each.record, each.raw, now)
                for stream, each in left.items()
            ]
            try:
                with translated():
                    await self.database.course_events.insert_many(events, ordered=False)
            except BulkWriteError as error:
                if not all(failure.duplicate for failure in write_failures(error)):
                    raise
        raise Retryable("events come in faster than a document can be adopted")

    async def _opened_before(self, streams: Mapping[str, Any]) -> set[str]:
        """Those of which this run has stored the opening event."""
        query = {
            "stream_id": {"$in": list(streams)},
            "event_type": OPENING,
            "metadata.correlation_id": self.run,
        }
        found = await reading.find(self.database.course_events, query, {"_id": 0, "stream_id": 1})
        return {row["stream_id"] for row in found.documents}
