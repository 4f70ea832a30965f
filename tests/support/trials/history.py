"""A long history of the simulator's learners, stored as ingest stores it, part by part: the last part is the load."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count, islice

from bench.records import Workload
from worker.chunks import chunks
from worker.contract.codec import decode_event
from worker.contract.event import Event
from worker.contract.source import Source
from worker.storage.database import Database, Document
from worker.storage.documents import event_document

_AT_ONCE = 2_000


class History:
    """`events` of `learners`, and as many more as somebody takes; every stream's versions are dense."""

    def __init__(self, learners: int, courses: int) -> None:
        # Nobody takes as many.
        self._workload = Workload(10**9, learners, courses)
        self._records = self._workload.records()
        self._versions: Counter[str] = Counter()
        self._offsets = count()

    async def store_platform(self, database: Database) -> None:
        """The documents of courses and people."""
        courses, users = self._workload.platform()
        await database.courses.insert_many(courses)
        for some in chunks(users, _AT_ONCE):
            await database.users.insert_many(some)

    async def store(self, database: Database, events: int) -> dict[str, int]:
        """Store so many more; returns the streams they are of, each with its version now."""
        heads: dict[str, int] = {}
        for some in chunks(islice(self._documents(), events), _AT_ONCE):
            await database.course_events.insert_many(some, ordered=False)
            for each in some:
                heads[each["stream_id"]] = each["version"]
        return heads

    def _documents(self) -> Iterator[Document]:
        for record in self._records:
            now = datetime.now(UTC)
            event = decode_event(record.value or b"", timestamp=now)
            if not isinstance(event, Event):
                raise TypeError(f"the simulator's own event was rejected: {event}")
            self._versions[event.stream_id] += 1
            source = Source("replay", 0, next(self._offsets))
            yield event_document(event, self._versions[event.stream_id], source, now, None)
