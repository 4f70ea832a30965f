"""Giving up an event by itself, where a setting says so: its fold has failed in every attempt, and would again.

Only a failure of the fold itself is given up, at an event that a producer sent. One that many streams have is a
defect of the code and not of an event: those wait for somebody.
"""

from datetime import timedelta

import structlog
from pymongo.errors import DuplicateKeyError

from projections.event import OWN_TYPES
from worker.storage import audit
from worker.storage.database import Database, Document
from worker.storage.errors import translated
from worker.storage.event_traces import traces_of
from worker.storage.models import SkippedVersion
from worker.storage.skipped_versions import event_at, put_decision, skipped_version_id
from worker.storage.transactions import Session, Transactions
from worker.storage.work_items import OPEN, Item, fold_type
from worker.telemetry.metrics import Metrics
from worker.timing import Clock
from worker.watch.folds.fold import Failure

log = structlog.get_logger(__name__)

# So many streams that fail in one place of the code, or did within a day, have events that are bad in one way: more
# than a producer's slip, and an operator decides.
_MOST_OF_A_KIND = 20
_A_KIND_FOR = timedelta(days=1)
_REASON = "its fold has failed in every attempt"


class GivingUp:
    """Skips the event at which a fold fails, for its projection, once its item has had `max_attempts`.

    May run twice: the key of the decision is the version. `who` names this worker.
    """

    def __init__(
        self,
        database: Database,
        projection: str,
        clock: Clock,
        metrics: Metrics,
        *,
        max_attempts: int,
        code_version: str,
        who: str,
    ) -> None:
        self._database = database
        self._projection = projection
        self._clock = clock
        self._metrics = metrics
        self._max_attempts = max_attempts
        self._code_version = code_version
        self._who = who

    async def __call__(self, item: Item, failure: Failure) -> bool:
        """True if the event is skipped now, and its stream woken. Raises Retryable while MongoDB is away."""
        if not failure.pure or item.attempt < self._max_attempts or failure.event_type in OWN_TYPES:
            return False
        said = f"{failure.error_class}: {failure.message}"
        if await self._of_a_kind(failure, said) > _MOST_OF_A_KIND:
            log.error("events_not_skipped", reason="many streams fail in one place", failure=said)
            return False
        arguments = {"projection": self._projection, "stream": failure.stream, "version": failure.version}
        async with audit.recorded(
            self._database, command="queue skip-event", who=self._who, arguments=arguments
        ) as audited:
            transactions = Transactions(self._database.client)
            try:
                decided = await transactions.run(lambda session: self._decide(failure, said, session))
            finally:
                await transactions.close()
            audited.outcome["skipped"] = decided
        if decided:
            self._metrics.skipped_events_total.labels(self._projection).inc()
            trace = (await traces_of(self._database, [failure.event_id])).get(failure.event_id)
            log.warning(
                "event_skipped",
                projection=self._projection,
                stream=failure.stream,
                version=failure.version,
                event_id=str(failure.event_id),
                failure=said,
                trace_id=None if trace is None else trace.trace_id,
            )
        return decided

    async def _decide(self, failure: Failure, said: str, session: Session) -> bool:
        """False where the event is not what it was: the next attempt sees what is there now."""
        event = await event_at(self._database, failure.stream, failure.version, session)
        if event is None or event.id != failure.event_id:
            return False
        now = self._clock.now()
        decision = SkippedVersion(
            _id=skipped_version_id(self._projection, failure.stream, failure.version),
            projection=self._projection,
            stream_id=failure.stream,
            version=failure.version,
            event_id=event.id,
            event_type=event.event_type,
            failure=said,
            who=self._who,
            reason=_REASON,
            automatic=True,
            decided_at=now,
            recorded_at=event.recorded_at or now,
            taken_back_at=None,
            taken_back_by=None,
        )
        try:
            await put_decision(self._database, decision, self._code_version, session)
        except DuplicateKeyError:  # somebody was faster, and has woken the stream
            return False
        return True

    async def _of_a_kind(self, failure: Failure, said: str) -> int:
        """How many streams fail like this, or did until their event was skipped."""
        alike = {"error_class": failure.error_class, "last_error": failure.message}
        waiting: Document = {"event_type": fold_type(self._projection), "status": {"$in": list(OPEN)}}
        since = {"failure": said, "decided_at": {"$gt": self._clock.now() - _A_KIND_FOR}}
        with translated():
            return await self._database.analytics_queue.count_documents(
                {**waiting, **alike}
            ) + await self._database.skipped_versions.count_documents({"automatic": True, **since})
