"""Which records of the log are to be read again, decided from what the broker says: pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from worker.contract.gaps import GapReason
from worker.kafka.positions import Gap, LogRange
from worker.kafka.record import Partition


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of one partition, from `begin` up to, without it, `end`; `next` is the next one to read."""

    partition: Partition
    begin: int
    end: int
    next: int

    @classmethod
    def of(cls, partition: Partition, begin: int, end: int) -> "Span":
        """A span of which nothing has been read."""
        return cls(partition, begin, end, begin)

    @property
    def is_done(self) -> bool:
        return self.next >= self.end

    @property
    def left(self) -> int:
        """Offsets still to read: as many records at most."""
        return max(0, self.end - self.next)

    def read_up_to(self, offset: int) -> "Span":
        """The span when everything below `offset` has been read; never beyond its end."""
        return replace(self, next=min(max(offset, self.next), self.end))

    def cut(self, end: int) -> "Span":
        """The span up to `end` at most."""
        return replace(self, end=max(self.begin, min(self.end, end)))


@dataclass(frozen=True, slots=True)
class Plan:
    """What can be read, in order, and what of it the log does not have any more."""

    spans: tuple[Span, ...] = ()
    lost: tuple[Gap, ...] = ()

    @property
    def records(self) -> int:
        """Offsets to read: as many records at most."""
        return sum(span.left for span in self.spans)


def plan_of(
    asked: Iterable[Span], ranges: Mapping[Partition, LogRange], committed: Mapping[Partition, int]
) -> Plan:
    """What of the spans asked for can be read again: below what the group has committed, and still in the log.

    What the group has not committed is its own to read. A partition that it has not read at all is left out. A span
    that begins before its log is read from there on.
    """
    spans, lost = list[Span](), list[Gap]()
    for span in asked:
        partition, log = span.partition, ranges.get(span.partition)
        below = span.cut(committed.get(partition, 0))
        if log is None or not below.left:
            continue
        kept = below.read_up_to(log.begin)
        if kept.next > below.begin:
            lost.append(_gap(partition, below.begin, kept.next - 1))
        spans.append(kept)
    return Plan(tuple(spans), tuple(lost))


def _gap(partition: Partition, first: int, last: int) -> Gap:
    message = (
        "the log begins behind these records, which were to be read again: retention or deletion removed them"
    )
    return Gap(partition, first, last, GapReason.RETENTION, message)


def told(gaps: Iterable[Gap]) -> str:
    """Ranges of offsets, for people: `events/3 from 10 to 19`."""
    return ", ".join(
        f"{gap.partition.topic}/{gap.partition.number} from {gap.first_offset:,} to {gap.last_offset:,}"
        for gap in gaps
    )


def by_rounds(spans: Iterable[Span]) -> Iterator[list[Span]]:
    """Spans that can be read beside each other: of each partition one, the first of each first."""
    waiting = list(spans)
    while waiting:
        now: dict[Partition, Span] = {}
        for span in waiting:
            now.setdefault(span.partition, span)
        chosen = list(now.values())
        waiting = [span for span in waiting if span not in chosen]
        yield chosen
