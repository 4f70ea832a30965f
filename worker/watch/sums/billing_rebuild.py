"""Billing rows made again from the payments that counted events name; what the platform wrote is left alone."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bson import ObjectId
from pymongo import ReplaceOne, UpdateOne

from projections.counts import Payment, payment_in
from projections.counts.projection import COUNTS
from projections.event import StoredEvent, read_paths
from worker.chunks import chunks
from worker.storage.billing import billing_id, billing_row, billing_upsert
from worker.storage.database import Database, Document
from worker.storage.encoding import same
from worker.storage.refused_rows import payment_target, row_item_id
from worker.storage.skipped_versions import skips_of
from worker.watch.sums.attempt import Attempt, Target, Write

_RANGES_PER_QUERY = 100
_EVENT_INDEX = [("stream_id", 1), ("version", 1)]
_EVENT_PATHS: Mapping[str, Any] = dict.fromkeys(read_paths(["payment"]), 1)
_ENROLMENT = "course_enrolled"
_STATES = ("pending", "completed", "failed", "refunded")


@dataclass(frozen=True, slots=True)
class Named:
    """A payment as one event names it, and whose it is."""

    payment: Payment
    user_id: ObjectId
    course_id: ObjectId

    @property
    def order(self) -> tuple[Any, bytes]:
        """Of two namings of one transaction the later one stands."""
        return self.payment.paid_at, self.payment.event_id


@dataclass(frozen=True, slots=True)
class BillingRebuild:
    """Sees to the billing rows of what was counted, within the transaction of an attempt. `dry`: writes nothing."""

    database: Database
    dry: bool = False

    async def __call__(
        self, counted: Iterable[Document], excused: Set[str], attempt: Attempt
    ) -> Counter[str]:
        """Counts what was done. `excused` are the items of rows that the server refused, which are tried again.

        1. the payments that counted events name  2. their rows  3. what else names the transactions of these rows
        """
        done: Counter[str] = Counter()
        payments = await self._payments([each for each in counted if each.get("payments")], attempt)  # 1
        rows = await self._rows(payments, attempt)  # 2
        others = await self._named_by(rows.values(), attempt)  # 3
        writes: list[tuple[Target | None, Write]] = []
        for named in payments:
            target, row = payment_target(named.payment.event_id), rows.get(named.payment.transaction_id)
            if row is None and row_item_id(target) in excused:
                done["waiting"] += 1
            elif row is None:
                done["billing_made"] += 1
                writes.append((target, billing_upsert(named.user_id, named.course_id, named.payment)))
            elif (mended := _mended(row, named, others)) is not None:
                done["billing_mended"] += 1
                writes.append((target, mended))
        if not self.dry:
            await attempt.write(self.database.billing_transactions, writes)
        return done

    async def _payments(self, counted: Sequence[Document], attempt: Attempt) -> list[Named]:
        """Each transaction once, as its latest event names it."""
        latest: dict[str, Named] = {}
        for some in chunks(counted, _RANGES_PER_QUERY):
            ranges = [
                {
                    "stream_id": each["stream_id"],
                    "version": {"$lte": each["last_event_version"]},
                    "event_type": _ENROLMENT,
                }
                for each in some
            ]
            streams = [each["stream_id"] for each in some]
            skips = await skips_of(self.database, COUNTS.source, streams, attempt.session)
            found = await attempt.find(
                self.database.course_events,
                skips.without_them({"$or": ranges}),
                _EVENT_PATHS,
                asked=len(counted),
                hint=_EVENT_INDEX,
            )
            for named in filter(None, found.through(_named).values):
                known = latest.get(named.payment.transaction_id)
                if known is None or known.order < named.order:
                    latest[named.payment.transaction_id] = named
        return list(latest.values())

    async def _rows(self, payments: Sequence[Named], attempt: Attempt) -> dict[str, Document]:
        """The rows by transaction; one that nobody can read as far as its `_id` tells which it is."""
        ids: dict[object, str] = {
            billing_id(each.payment.transaction_id): each.payment.transaction_id for each in payments
        }
        if not ids:
            return {}
        query = {"$or": [{"_id": {"$in": list(ids)}}, {"transaction_id": {"$in": list(ids.values())}}]}
        found = await attempt.find(self.database.billing_transactions, query, {}, asked=len(ids))
        rows = {ids.get(row["_id"]) or str(row.get("transaction_id")): row for row in found.documents}
        broken: dict[str, Document] = {
            ids[one.id]: {"_id": one.id} for one in found.unreadable if one.id in ids
        }
        return {**rows, **broken}

    async def _named_by(self, rows: Iterable[Document], attempt: Attempt) -> dict[object, Named]:
        """The payments of the events that rows name: perhaps those of another learner."""
        ids = [row["event_id"] for row in rows if isinstance(row.get("event_id"), UUID)]
        found = await attempt.read(self.database.course_events, ids, _EVENT_PATHS)
        named = filter(None, found.through(_named).values)
        return {UUID(bytes=each.payment.event_id): each for each in named}


def _named(event: Document) -> Named | None:
    stored = StoredEvent.from_document(event)
    payment = payment_in(stored)
    if payment is None or stored.user_id is None or stored.course_id is None:
        return None
    return Named(payment, stored.user_id, stored.course_id)


def _mended(row: Document, named: Named, others: Mapping[object, Named]) -> Write | None:
    """What brings a row of ours to the latest naming of its transaction; None for one that is right, or not ours."""
    transaction = named.payment.transaction_id
    if row["_id"] != billing_id(transaction):
        return None  # the platform's own
    other = others.get(row.get("event_id"))
    if other is not None and other.payment.transaction_id == transaction and named.order < other.order:
        named = other
    wanted = billing_row(named.user_id, named.course_id, named.payment)
    status = row.get("status") if row.get("status") in _STATES else "completed"
    if all(same(row.get(name), value) for name, value in [*wanted.items(), ("status", status)]):
        return None
    if row.keys() == {"_id"}:
        return ReplaceOne({"_id": row["_id"]}, {"_id": row["_id"], "status": status, **wanted})
    return UpdateOne({"_id": row["_id"]}, {"$set": {"status": status, **wanted}})
