"""What a sum projection is for whoever counts: how its source is read, and what follows from steps."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from projections.counts import Step
from projections.kinds import SumProjection
from worker.storage.database import Document
from worker.storage.reading import Reading
from worker.watch.sums.attempt import Attempt, Keys
from worker.watch.sums.quarantine import Quarantine


@dataclass(frozen=True, slots=True)
class Counting:
    """What one transaction does with the documents of the source that it read.

    `known` is what was counted before. `steps` are taken, `stale` documents are counted as they stand, `lost` ones
    went back behind what was counted of them, each with its stream, and `frozen` ones newer code had counted.
    """

    records: Reading
    known: Mapping[Any, Document]
    steps: Sequence[Step]
    stale: int
    lost: Mapping[Any, str]
    frozen: frozenset[Any]


class Showing(Protocol):
    """How a sum projection reads its source, and what follows from the steps of its documents."""

    projection: SumProjection
    quarantine: Quarantine

    kinds: Mapping[str, str]
    """The collections by kind of target: first the source, whose documents are counted, then those that show sums."""

    at_once: Collection[str]
    """Kinds beside the source whose documents never wait for their turn, however often they change."""

    steady: Collection[str]
    """Kinds whose documents the worker alone changes: they wait a little, and no longer for changing often."""

    most: Mapping[str, int]
    """By kind, how many documents one transaction is about; of the source a few times as many in a backlog."""

    paths: Mapping[str, Any]
    """What is read of a document of the source."""

    counted_paths: Mapping[str, Any]
    """What is read of what was counted."""

    current: Mapping[str, str]
    """A document is counted as it stands where these paths of it are the same as those in what was counted."""

    def step(self, record: Document, known: Document | None) -> Step | None:
        """What counting this document changes, None if nothing. Raises for one that makes no sense."""

    async def begin(self, attempt: Attempt) -> None:
        """What a transaction writes before it reads."""

    async def show(self, counting: Counting, attempt: Attempt) -> None:
        """Write what follows from the steps, and the sums of the documents named."""

    async def gone(self) -> Keys:
        """Documents that sums may still be shown for though they are no more."""

    def rules(self, own: Iterable[UUID]) -> Sequence[Document]:
        """Which changes matter of documents that show sums, beside those that make or replace one (see `changes`)."""
