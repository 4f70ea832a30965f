"""What one snapshot shows of learners, courses and people: the reads of a check on what was counted."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bson import ObjectId

from projections.counts import LEARNING, NAMES, Counted, Payment, payment_in
from projections.counts.learner import RECORD_PATHS
from projections.counts.statistics import instructor_of
from projections.event import StoredEvent
from worker.chunks import chunks
from worker.contract.identity import stream_object_id
from worker.storage import reading
from worker.storage.database import Document
from worker.storage.outbox import notification_id
from worker.storage.work_items import COUNTS_ROW
from worker.verify.findings import Finding
from worker.verify.learner_audit import MILESTONES, Learner, audit_rows
from worker.verify.queue_check import open_items
from worker.verify.reading import hashable, pages
from worker.verify.rows_audit import Announced
from worker.verify.shapes import misfits
from worker.verify.snapshots import Snapshot
from worker.verify.statistics_audit import Person

_RECORD = dict.fromkeys(RECORD_PATHS, 1)
# Ranges of versions in one query, as in counting.
_RANGES_PER_QUERY = 100
_COURSE = dict.fromkeys(("instructor_id", "instructor.user_id", "stats", "created_at", "updated_at"), 1)
_USER = dict.fromkeys(("stats", "activity_log", "created_at", "updated_at"), 1)
_COUNTED_OF_USER = dict.fromkeys(("user_id", "course_id", "enrolled_at", "counted"), 1)
# What a row of the outbox is compared with.
_COUNTED = dict.fromkeys(("stream_id", "user_id", "course_id", "emitted"), 1)
_ANNOUNCED = dict.fromkeys(("milestones", "projection_version", "version"), 1)


@dataclass(frozen=True, slots=True)
class CountsSnapshot(Snapshot):
    """What one transaction shows of all that counting writes."""

    async def learners(self, ids: Sequence[Any]) -> list[Learner]:
        """The learners with these records."""
        records = await self.by_id(self.database.user_progress, ids, _RECORD)
        projections = await self.by_id(self.database.user_progress_projections, records, None)
        counted = [each for each in projections.values() if not misfits("user_progress_projections", each)]
        rows = await self._outbox_ids(counted)
        payments = await self._payments(counted)
        billing = await self._billing_rows(each for own in payments.values() for each in own)
        streams = {identity: str(record.get("stream_id")) for identity, record in records.items()}
        wrong: dict[Any, list[tuple[str, Finding]]] = defaultdict(list)
        for each in counted:
            stream = streams[each["_id"]]
            wrong[each["_id"]] += audit_rows(stream, each, rows, payments[stream], billing)
        items = [item for some in wrong.values() for item, _ in some]
        excused = await open_items(self.database, COUNTS_ROW, items, self.session)
        return [
            Learner(
                record, projections.get(key), rows=[each for item, each in wrong[key] if item not in excused]
            )
            for key, record in records.items()
        ]

    async def notifications(self, ids: Sequence[Any]) -> list[Announced]:
        """The outbox rows, each with its learner's projection and record."""
        rows = list((await self.by_id(self.database.notifications, ids, None)).values())
        learners = [stream_object_id(str(row.get("stream_id"))) for row in rows]
        known = await self.by_id(self.database.user_progress_projections, set(learners), _COUNTED)
        records = await self.by_id(self.database.user_progress, set(learners), _ANNOUNCED)
        return [
            Announced(row, known.get(learner), records.get(learner))
            for row, learner in zip(rows, learners, strict=True)
        ]

    async def billing(self, ids: Sequence[Any]) -> list[tuple[Document, Document | None]]:
        """The billing rows, each with the event it names."""
        rows = list((await self.by_id(self.database.billing_transactions, ids, None)).values())
        named = [row["event_id"] for row in rows if isinstance(row.get("event_id"), UUID)]
        events = await self.by_id(self.database.course_events, named, None)
        return [(row, events.get(hashable(row.get("event_id")))) for row in rows]

    async def courses(self, ids: Iterable[Any]) -> list[tuple[Document, Counted]]:
        """Those of the courses that have a document, each with the sum over its projections."""
        documents = await self.by_id(self.database.courses, ids, _COURSE)
        sums = await self._sums("course_id", documents)
        return [(document, sums[course]) for course, document in documents.items()]

    async def users(self, ids: Sequence[Any], taught: Mapping[ObjectId, Iterable[Any]]) -> list[Person]:
        """Those of the users that have a document; `taught` says which courses may name them as instructor."""
        documents = await self.by_id(self.database.users, ids, _USER, kept=("activity_log",))
        learned: dict[ObjectId, Counted] = defaultdict(Counted)
        enrolled: dict[ObjectId, dict[ObjectId, datetime]] = defaultdict(dict)
        wanted = {"user_id": {"$in": list(documents)}}
        counted = self.database.user_progress_projections
        async for page in pages(counted, wanted, _COUNTED_OF_USER, session=self.session):
            for row in page.documents:
                learned[row["user_id"]] += _counted(row.get("counted"))
                course, enrolled_at = row.get("course_id"), row.get("enrolled_at")
                if isinstance(course, ObjectId) and isinstance(enrolled_at, datetime):
                    enrolled[row["user_id"]][course] = enrolled_at
        teaching = await self._teaching({course for user in documents for course in taught.get(user, ())})
        return [
            Person(document, learned[user].only(LEARNING), enrolled[user], teaching.get(user, Counted()))
            for user, document in documents.items()
        ]

    async def _teaching(self, courses: Iterable[Any]) -> dict[ObjectId, Counted | None]:
        """Sums by instructor; None for one of whose courses some are counted and show no statistics yet."""
        sums: dict[ObjectId, Counted | None] = {}
        for document, counted in await self.courses(courses):
            instructor, stats = instructor_of(document), document.get("stats")
            if instructor is None:
                continue
            so_far = sums.get(instructor, Counted())
            shown = isinstance(stats, Mapping) and "sums" in stats
            unknown = so_far is None or (bool(counted) and not shown)
            sums[instructor] = None if unknown or so_far is None else so_far + counted
        return sums

    async def _sums(self, path: str, keys: Iterable[ObjectId]) -> dict[ObjectId, Counted]:
        group = {"_id": f"${path}", **{name: {"$sum": f"$counted.{name}"} for name in NAMES}}
        pipeline: list[Document] = [{"$match": {path: {"$in": list(keys)}}}, {"$group": group}]
        projections = self.database.user_progress_projections
        rows = await reading.aggregate(projections, pipeline, session=self.session)
        return defaultdict(Counted, {hashable(row["_id"]): _counted(row) for row in rows.documents})

    async def _outbox_ids(self, projections: Iterable[Document]) -> frozenset[str]:
        wanted = [notification_id(kind, each["stream_id"]) for each in projections for kind in MILESTONES]
        return frozenset(await self.by_id(self.database.notifications, wanted, {"_id": 1}))

    async def _payments(self, projections: Iterable[Document]) -> dict[str, list[Payment]]:
        """By stream, the payments its events name up to the version that was counted."""
        named: dict[str, list[Payment]] = defaultdict(list)
        paying = [each for each in projections if each.get("payments")]
        for some in chunks(paying, _RANGES_PER_QUERY):
            ranges = [
                {
                    "stream_id": each["stream_id"],
                    "version": {"$lte": each["last_event_version"]},
                    "event_type": "course_enrolled",
                }
                for each in some
            ]
            async for page in pages(self.database.course_events, {"$or": ranges}, session=self.session):
                # An event that makes no sense has a finding of its own.
                for event, payment in page.through(_paid).values:
                    named[event] += [payment] if payment else []
        return named

    async def _billing_rows(self, payments: Iterable[Payment]) -> dict[str, Document]:
        wanted = list({payment.transaction_id for payment in payments})
        rows = await reading.find(
            self.database.billing_transactions, {"transaction_id": {"$in": wanted}}, session=self.session
        )
        return {row["transaction_id"]: row for row in rows.documents}


def _paid(event: Document) -> tuple[str, Payment | None]:
    return event["stream_id"], payment_in(StoredEvent.from_document(event))


def _counted(stored: object) -> Counted:
    """A projection's vector as far as it is one; another has a finding of its own."""
    known = stored if isinstance(stored, Mapping) else {}
    return Counted(**{name: known[name] for name in NAMES if isinstance(known.get(name), int)})
