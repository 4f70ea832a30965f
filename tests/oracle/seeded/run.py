"""One run of the worker in lists that a bug may damage: its input, what it stored, and what else was seen of it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from tests.oracle import Delivery, Entry, Evidence, Log, LogRecord
from tests.oracle.case import Case
from tests.oracle.stored import Stored
from worker.storage.database import Database, Document

TOPIC = "t"
PARTITIONS = 2
CANARY = "canary-7d1f:the learner's own words"
PASSWORD = "pass/word-for+nobody"  # noqa: S105 - planted to be looked for


@dataclass
class Run:
    """`committed` and the ends follow from `log` in a right run; documents by collection."""

    ledger: list[Entry] = field(default_factory=list)
    log: list[LogRecord] = field(default_factory=list)
    committed: dict[tuple[str, int], int] = field(default_factory=dict)
    events: list[Document] = field(default_factory=list)
    rows: list[Document] = field(default_factory=list)
    dead_letters: list[Document] = field(default_factory=list)
    progress: list[Document] = field(default_factory=list)
    projections: list[Document] = field(default_factory=list)
    courses: list[Document] = field(default_factory=list)
    version_histories: list[Document] = field(default_factory=list)
    course_versions: list[Document] = field(default_factory=list)
    users: list[Document] = field(default_factory=list)
    notifications: list[Document] = field(default_factory=list)
    billing: list[Document] = field(default_factory=list)
    queue: list[Document] = field(default_factory=list)
    skipped: list[Document] = field(default_factory=list)
    jobs: list[Document] = field(default_factory=list)
    content: dict[str, list[Document]] = field(default_factory=dict)
    received: list[Delivery] = field(default_factory=list)
    metrics: str = ""
    worker_log: str = ""
    passwords: list[str] = field(default_factory=lambda: [PASSWORD])
    owned: frozenset[str] = frozenset()

    @property
    def case(self) -> Case:
        """What the oracle gets to see."""
        stored = Stored(
            events=self.events,
            rows=self.rows,
            dead_letters=self.dead_letters,
            progress=self.progress,
            projections=self.projections,
            courses=self.courses,
            version_histories=self.version_histories,
            course_versions=self.course_versions,
            users=self.users,
            notifications=self.notifications,
            billing=self.billing,
            queue=self.queue,
            skipped=self.skipped,
            others={
                "config.job_runs": self.jobs,
                **{f"seeded_content.{name}": found for name, found in self.content.items()},
            },
        )
        return Case(stored, self.ledger, self._evidence, in_order=True, owned=self.owned)

    @property
    def ends(self) -> dict[tuple[str, int], int]:
        ends: dict[tuple[str, int], int] = defaultdict(int)
        for record in self.log:
            ends[record.topic, record.partition] = record.offset + 1
        return ends

    @property
    def _evidence(self) -> Evidence:
        return Evidence(
            log=Log(self.log, self.ends, self.committed),
            received=self.received,
            metrics={"worker": self.metrics},
            logs={"worker": self.worker_log},
            canaries=[CANARY],
            passwords=self.passwords,
        )

    def after_reading(self, stored: Stored) -> "Run":
        """The same run with the documents as they came back from MongoDB."""
        jobs = [each for name, found in stored.others.items() if name.endswith(".job_runs") for each in found]
        return replace(
            self,
            events=list(stored.events),
            rows=list(stored.rows),
            dead_letters=list(stored.dead_letters),
            progress=list(stored.progress),
            projections=list(stored.projections),
            courses=list(stored.courses),
            version_histories=list(stored.version_histories),
            course_versions=list(stored.course_versions),
            users=list(stored.users),
            notifications=list(stored.notifications),
            billing=list(stored.billing),
            queue=list(stored.queue),
            jobs=jobs,
        )

    async def insert(self, database: Database) -> None:
        await database.course_events.insert_many(self.events)
        await database.user_interactions.insert_many(self.rows)
        await database.dead_letters.insert_many(self.dead_letters)
        await database.user_progress.insert_many(self.progress)
        await database.user_progress_projections.insert_many(self.projections)
        await database.courses.insert_many(self.courses)
        await database.collection("version_history").insert_many(self.version_histories)
        await database.collection("course_versions").insert_many(self.course_versions)
        await database.users.insert_many(self.users)
        await database.notifications.insert_many(self.notifications)
        await database.billing_transactions.insert_many(self.billing)
        await database.analytics_queue.insert_many(self.queue)
        await database.job_runs.insert_many(self.jobs)
        for name, documents in self.content.items():
            await database.collection(name).insert_many(documents)

    # What bugs look for.

    def event(self, event_type: str) -> Document:
        """The last event of this type."""
        return next(each for each in reversed(self.events) if each["event_type"] == event_type)

    def stream(self, stream_id: str) -> Sequence[Document]:
        """Its events in version order."""
        return sorted(
            (each for each in self.events if each["stream_id"] == stream_id),
            key=lambda each: int(each["version"]),
        )

    def row(self, event_id: UUID) -> Document:
        return next(each for each in self.rows if each["_id"] == event_id)

    def record(self, stream_id: str) -> Document:
        """The learner's progress document."""
        return next(each for each in self.progress if each["stream_id"] == stream_id)

    def dead_letter(self, *, conflict: bool = False) -> Document:
        return next(each for each in self.dead_letters if (each["reason"] == "conflict") == conflict)

    def entry(self, kind: str) -> Entry:
        return next(each for each in self.ledger if each.kind == kind)

    def notification(self, kind: str = "completion") -> Document:
        """One that was sent."""
        return next(each for each in self.notifications if each["kind"] == kind and each["status"] == "sent")

    def course(self) -> Document:
        """One with learners."""
        return next(each for each in self.courses if each["stats"]["enrollments"]["total"] > 1)

    def teacher(self) -> Document:
        return next(each for each in self.users if "total_students" in each.get("stats", {}))

    def learner(self) -> Document:
        return next(each for each in self.users if each.get("stats", {}).get("courses_enrolled", 0) > 0)

    def finished(self) -> Iterator[Document]:
        """Progress documents of learners who reached the end."""
        return (each for each in self.progress if each["milestones"]["completed"] is not None)
