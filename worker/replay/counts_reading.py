"""What one snapshot shows of learners, courses and people: the reads of a check on what was counted."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bson import ObjectId

from projections.counts import LEARNING, NAMES, ActivityEntry, Counted, Payment, payment_in
from projections.event import StoredEvent
from worker.contract.identity import stream_object_id
from worker.replay.counts_audit import (
    MILESTONES,
    Learner,
    Person,
    instructor_of,
    milestone_item,
    payment_item,
)
from worker.storage.database import Collection, Database, Document
from worker.storage.driver import aggregate
from worker.storage.errors import translated
from worker.storage.outbox import notification_id
from worker.storage.refused_rows import EVENT_TYPE
from worker.storage.transactions import Session

# What counting reads of a record; the rest of `state` stays on the server.
_RECORD = dict.fromkeys(
    (
        "rev",
        "stream_id",
        "user_id",
        "course_id",
        "version",
        "recorded_at",
        "status",
        "progress",
        "time_tracking",
        "social",
        "rating",
        "certificates",
        "milestones",
        "enrollment_date",
        "created_at",
        "projection_version",
        "state.payments_named",
    ),
    1,
)
_OPEN = {"$in": ["pending", "processing", "failed"]}
# Ranges of versions in one query, as in counting.
_RANGES_PER_QUERY = 100
_COURSE = dict.fromkeys(("instructor_id", "instructor.user_id", "stats"), 1)
_USER = dict.fromkeys(("stats", "activity_log"), 1)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Reads of one transaction: all of them show the same moment. Use it within `Transactions.run`."""

    database: Database
    session: Session

    async def learners(self, after: ObjectId | None, limit: int) -> tuple[list[Learner], ObjectId | None]:
        """The next learners by `_id`, and the last one's id; None behind the last."""
        records = await self._page(self.database.user_progress, after, limit, _RECORD)
        last = records[-1]["_id"] if len(records) == limit else None
        bounds: Document = ({"$gt": after} if after else {}) | ({"$lte": last} if last else {})
        query = {"_id": bounds} if bounds else {}
        projections = await self._find(self.database.user_progress_projections, query)
        known = {each["_id"]: each for each in projections}
        rows = await self._outbox_rows(projections)
        payments = await self._payments(projections)
        billing = await self._billing_rows(each for own in payments.values() for each in own)
        missing = [
            milestone_item(kind, each)
            for each in projections
            for kind in MILESTONES
            if not _has(rows, kind, each)
        ]
        named = (each for own in payments.values() for each in own)
        missing += [payment_item(each) for each in named if not _bills(billing, each)]
        aside = await self._rows_aside(missing)
        learners = [
            Learner(each, known.pop(each["_id"], None), payments[each["stream_id"]], rows, billing, aside)
            for each in records
        ]
        return [*learners, *(Learner(None, each) for each in known.values())], last

    async def notifications(
        self, after: str | None, limit: int
    ) -> tuple[list[tuple[Document, Document | None]], str | None]:
        """The next outbox rows, each with its learner's projection, and the last one's id."""
        rows = await self._page(self.database.notifications, after, limit, None)
        ids = {row["_id"]: stream_object_id(row["stream_id"]) for row in rows}
        known = await self._by_id(self.database.user_progress_projections, set(ids.values()), {"emitted": 1})
        return [(row, known.get(ids[row["_id"]])) for row in rows], _last(rows, limit)

    async def billing(
        self, after: ObjectId | None, limit: int
    ) -> tuple[list[tuple[Document, Document | None]], ObjectId | None]:
        """The next billing rows, each with the event it names, and the last one's id."""
        rows = await self._page(self.database.billing_transactions, after, limit, None)
        named = [row["event_id"] for row in rows if "event_id" in row]
        events = await self._by_id(self.database.course_events, named, None)
        return [(row, events.get(row.get("event_id"))) for row in rows], _last(rows, limit)

    async def courses(self, ids: Sequence[ObjectId]) -> list[tuple[Document, Counted]]:
        """Those of the courses that have a document, each with the sum over its projections."""
        documents = await self._by_id(self.database.courses, ids, _COURSE)
        sums = await self._sums("course_id", documents)
        return [(document, sums[course]) for course, document in documents.items()]

    async def users(
        self, ids: Sequence[ObjectId], taught: Mapping[ObjectId, Iterable[ObjectId]]
    ) -> list[Person]:
        """Those of the users that have a document; `taught` says which courses may name them as instructor."""
        documents = await self._by_id(self.database.users, ids, _USER)
        wanted = {"user_id": {"$in": list(documents)}}
        paths = dict.fromkeys(("user_id", "course_id", "enrolled_at", "counted"), 1)
        learned: dict[ObjectId, Counted] = defaultdict(Counted)
        entries: dict[ObjectId, list[ActivityEntry]] = defaultdict(list)
        for row in await self._find(self.database.user_progress_projections, wanted, paths):
            learned[row["user_id"]] += _counted(row["counted"]).only(LEARNING)
            if row["enrolled_at"] is not None:
                entries[row["user_id"]].append(ActivityEntry(row["course_id"], row["enrolled_at"]))
        teaching = await self._teaching({course for user in documents for course in taught.get(user, ())})
        return [
            Person(document, learned[user], entries[user], teaching.get(user, Counted()))
            for user, document in documents.items()
        ]

    async def refused(self, kind: str, identity: ObjectId) -> bool:
        """The server refuses this document's statistics, which is known and waits for people."""
        item = {"_id": f"counts:{kind}:{identity}", "status": _OPEN}
        return bool(await self._find(self.database.analytics_queue, item, {"_id": 1}))

    async def _rows_aside(self, items: Sequence[str]) -> frozenset[str]:
        """Those of the items that are open: the server refuses their rows."""
        wanted = {"_id": {"$in": list(items)}, "event_type": EVENT_TYPE, "status": _OPEN}
        found = await self._find(self.database.analytics_queue, wanted, {"_id": 1}) if items else []
        return frozenset(each["_id"] for each in found)

    async def _teaching(self, courses: Iterable[ObjectId]) -> dict[ObjectId, Counted | None]:
        """Sums by instructor; None for one of whose courses some are counted and show no statistics yet."""
        sums: dict[ObjectId, Counted | None] = {}
        for document, counted in await self.courses(list(courses)):
            instructor, stats = instructor_of(document), document.get("stats")
            if instructor is None:
                continue
            so_far = sums.get(instructor, Counted())
            unknown = so_far is None or (bool(counted) and "sums" not in (stats or {}))
            sums[instructor] = None if unknown or so_far is None else so_far + counted
        return sums

    async def _sums(self, path: str, keys: Iterable[ObjectId]) -> dict[ObjectId, Counted]:
        group: Document = {"_id": f"${path}", **{name: {"$sum": f"$counted.{name}"} for name in NAMES}}
        pipeline = [{"$match": {path: {"$in": list(keys)}}}, {"$group": group}]
        with translated():
            rows = await aggregate(self.database.user_progress_projections, pipeline, session=self.session)
        return defaultdict(Counted, {row["_id"]: _counted(row) for row in rows})

    async def _outbox_rows(self, projections: Iterable[Document]) -> dict[str, Document]:
        wanted = [notification_id(kind, each["stream_id"]) for each in projections for kind in MILESTONES]
        return await self._by_id(self.database.notifications, wanted, None)

    async def _payments(self, projections: Iterable[Document]) -> dict[str, list[Payment]]:
        """By stream, the payments its events name up to the version that was counted."""
        named: dict[str, list[Payment]] = defaultdict(list)
        paying = [each for each in projections if each.get("payments")]
        for start in range(0, len(paying), _RANGES_PER_QUERY):
            ranges = [
                {
                    "stream_id": each["stream_id"],
                    "version": {"$lte": each["last_event_version"]},
                    "event_type": "course_enrolled",
                }
                for each in paying[start : start + _RANGES_PER_QUERY]
            ]
            for event in await self._find(self.database.course_events, {"$or": ranges}):
                payment = payment_in(StoredEvent.from_document(event))
                if payment is not None:
                    named[event["stream_id"]].append(payment)
        return named

    async def _billing_rows(self, payments: Iterable[Payment]) -> dict[str, Document]:
        wanted = list({payment.transaction_id for payment in payments})
        rows = await self._find(self.database.billing_transactions, {"transaction_id": {"$in": wanted}})
        return {row["transaction_id"]: row for row in rows}

    async def _page(
        self, collection: Collection, after: object, limit: int, paths: Mapping[str, int] | None
    ) -> list[Document]:
        query = {} if after is None else {"_id": {"$gt": after}}
        with translated():
            cursor = collection.find(query, paths, session=self.session).sort("_id", 1).limit(limit)
            return await cursor.to_list(None)

    async def _by_id(
        self, collection: Collection, ids: Iterable[Any], paths: Mapping[str, int] | None
    ) -> dict[Any, Document]:
        found = await self._find(collection, {"_id": {"$in": list(ids)}}, paths)
        return {document["_id"]: document for document in found}

    async def _find(
        self, collection: Collection, query: Mapping[str, Any], paths: Mapping[str, int] | None = None
    ) -> list[Document]:
        with translated():
            return await collection.find(query, paths, session=self.session).to_list(None)


def _has(rows: Mapping[str, Document], kind: str, projection: Document) -> bool:
    return kind not in projection["emitted"] or notification_id(kind, projection["stream_id"]) in rows


def _bills(billing: Mapping[str, Document], payment: Payment) -> bool:
    row = billing.get(payment.transaction_id)
    return row is not None and row.get("event_id") == UUID(bytes=payment.event_id)


def _counted(stored: Mapping[str, Any]) -> Counted:
    return Counted(**{name: stored[name] for name in NAMES if name in stored})


def _last(rows: Sequence[Document], limit: int) -> Any:
    return rows[-1]["_id"] if len(rows) == limit else None
