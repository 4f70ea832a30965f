"""One case to check: what was published, what is stored, and whatever else was seen of the run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from tests.oracle.ledger import Entry
from tests.oracle.stored import Stored


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record as the log holds it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Log:
    """Topics, read from begin to end; `ends` and the group's `committed` offsets by topic and partition."""

    records: Sequence[LogRecord]
    ends: Mapping[tuple[str, int], int]
    committed: Mapping[tuple[str, int], int | None]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification as its receiver saw it; `body` is None where the receiver did not keep it."""

    key: str
    accepted: bool = True
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen beside MongoDB; None means that nobody looked, and then nobody checks by it.

    `repeats` is how often a receiver may have accepted a key again: the crashes between sending and marking.
    `metrics` and `logs` are texts by name, each metrics text one life of one worker at rest. `canaries` are
    secrets of payloads, which may stand in documents and in a dead letter's bytes; `passwords` may stand nowhere.
    """

    log: Log | None = None
    received: Sequence[Delivery] | None = None
    repeats: int = 0
    metrics: Mapping[str, str] | None = None
    logs: Mapping[str, str] | None = None
    canaries: Sequence[str] = ()
    passwords: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """`in_order` says that every stream's records went to one partition in the ledger's order.

    `owned` are the collections, of `courses` and `users`, whose documents the worker makes. `stale_after`: no event
    is stamped with what was over for longer of its course; None: nobody says so.
    """

    stored: Stored
    ledger: Sequence[Entry] = ()
    evidence: Evidence = field(default_factory=Evidence)
    in_order: bool = False
    owned: frozenset[str] = frozenset()
    stale_after: timedelta | None = None

    @property
    def must_be_stored(self) -> Mapping[UUID, Entry]:
        """The ok entry of every event id of which a record was acknowledged."""
        certain = {each.event_id for each in self._events if each.acknowledged}
        return {event_id: entry for event_id, entry in self.may_be_stored.items() if event_id in certain}

    @property
    def may_be_stored(self) -> Mapping[UUID, Entry]:
        """The ok entry of every event id."""
        return {each.event_id: each for each in self._events if each.event_id and each.kind == "ok"}

    @property
    def _events(self) -> Sequence[Entry]:
        return [each for each in self.ledger if each.kind in ("ok", "duplicate")]

    @property
    def logged_values(self) -> Counter[bytes]:
        """How often the log holds which bytes; never where nobody looked."""
        log = self.evidence.log
        return Counter(each.value for each in log.records if each.value is not None) if log else Counter()
