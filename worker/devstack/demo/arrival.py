"""Watches a run until everything published has arrived everywhere, and shows it while it happens."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from worker.devstack.demo.stored import Key, first_quarantined, poll_sums, streams_behind, uncounted
from worker.devstack.servers.worker_process import WorkerCounts, WorkerProbe
from worker.errors import Fatal
from worker.storage.database import Database
from worker.timing import Clock

SILENCE_LIMIT_S = 5.0  # of a worker somebody else runs; a busy one answers in time
LIVE_WIDTH = 8  # columns stand still while numbers grow, and six of them fit into 80 characters
NARROWEST_WIDTH = 80  # below it columns are as wide as their numbers
POLL_S = 0.25  # seen as live, and costs the two cores next to nothing
LINE_EVERY_S = 2.0  # without a terminal: a log somebody reads later
COLUMN_WIDTH = 12  # tens of millions fit, and six columns fit into the 80 characters of a log
NO_PROGRESS_LIMIT_S = 90.0  # longer than a rebalance with a dead member, or a lease that must expire


class Stalled(Fatal):
    """Nothing moved for too long; the message says how far everything had come."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a run. `published` and `accounted` count its records, the others what MongoDB holds."""

    at: float
    published: int
    accounted: int
    stored: int
    projected: int
    counted: int = 0

    @property
    def lag(self) -> int:
        """Records published and not yet accounted for by the worker."""
        return max(0, self.published - self.accounted)

    def moved_since(self, other: "Sample") -> bool:
        return replace(self, at=other.at) != other


@dataclass(slots=True)
class Published:
    """How far the publisher has come; `total` is known in advance only for simulations."""

    total: int | None = None
    count: int = 0
    started_at: float = 0.0
    done: bool = False


@dataclass(slots=True)
class RunWatch:
    """Follows one run on one stack. `baseline` is the worker's accounting before the first record, by topic.

    `expected` are documents that must be there in the end, though only a certain event makes them; `other_events` is
    the number of events stored that are neither of learners nor of payments.
    """

    database: Database
    worker: WorkerProbe
    baseline: Mapping[str, WorkerCounts]
    published: Published
    clock: Clock
    require_alive: Callable[[], None]
    expected: Collection[Key] = frozenset()
    other_events: int = 0
    counts: Mapping[str, WorkerCounts] = field(init=False)
    _heard_at: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.counts = self._since(self.baseline)

    @property
    def counting(self) -> bool:
        """The worker counts learners into statistics, so that the run is over only when it has."""
        return self.runs("counts")

    def runs(self, role: str) -> bool:
        """The worker says in its metrics that it has this role."""
        return any(role in each.components for each in self.baseline.values())

    def _since(self, now: Mapping[str, WorkerCounts]) -> dict[str, WorkerCounts]:
        return {topic: now[topic].since(before) for topic, before in self.baseline.items()}

    @property
    def _accounted(self) -> int:
        return sum(each.accounted for each in self.counts.values())

    async def until_drained(self, display: "Display") -> float:
        """Return the time (monotonic) at which everything published was seen accounted for, folded and counted.

        Raises StartFailed when the worker or a server ends, Stalled when nothing moves.
        """
        last = await self._sample()
        moved_at = last.at
        while True:
            self.require_alive()
            sample = await self._sample()
            display.show(sample)
            if sample.moved_since(last):
                moved_at = sample.at
            if await self._drained(sample):
                return sample.at
            if self.published.done and sample.lag == 0:
                await self._require_nothing_quarantined(sample)
            if sample.at - moved_at > NO_PROGRESS_LIMIT_S:
                raise Stalled(f"nothing moved for {NO_PROGRESS_LIMIT_S:.0f} s: {await self._state(sample)}")
            last = sample
            await self.clock.sleep(POLL_S)

    async def _sample(self) -> Sample:
        counts = await self.worker.counts_of([*self.baseline])
        at = self.clock.monotonic()
        if counts is not None:
            self.counts = self._since(counts)
            self._heard_at = at
        elif self._heard_at is not None and at - self._heard_at > SILENCE_LIMIT_S:
            raise Stalled(f"the worker at {self.worker.url} does not answer any more: has it ended?")
        sums = await poll_sums(self.database, exact=self.published.done, other_events=self.other_events)
        published, accounted = self.published.count, self._accounted
        return Sample(at, published, accounted, sums.stored, sums.projected, sums.counted)

    async def _drained(self, sample: Sample) -> bool:
        """Cheap sums first: versions are dense, so documents are current only if the sums are equal."""
        if not self.published.done or sample.accounted < sample.published or sample.projected < sample.stored:
            return False
        if self.counting and sample.counted < sample.projected:
            return False
        if await streams_behind(self.database, self.expected):
            return False
        return not (self.counting and await uncounted(self.database))

    async def _require_nothing_quarantined(self, sample: Sample) -> None:
        """A stream in quarantine waits for other code, not for time: say why at once."""
        first = await first_quarantined(self.database)
        if first is not None:
            raise Stalled(f"a fold fails, its stream is in quarantine: {first}; {await self._state(sample)}")

    async def _state(self, sample: Sample) -> str:
        behind = await streams_behind(self.database, self.expected)
        log = f"; the worker's log says:\n{self.worker.process.log_tail()}" if self.worker.process else ""
        return (
            f"{sample.published} records published, {sample.accounted} accounted for by the worker, "
            f"{sample.stored} versions in the event store, {sample.projected} folded, "
            f"{len(behind)} streams behind, {sample.counted} counted{log}"
        )


class Display(Protocol):
    """Where samples are shown."""

    def show(self, sample: Sample) -> None: ...


class Rates:
    """Records accounted for per second, over the last few seconds."""

    WINDOW_S = 3.0

    def __init__(self) -> None:
        self._samples: list[Sample] = []

    def add(self, sample: Sample) -> float:
        """The rate up to this sample; 0 for the first one."""
        self._samples = [old for old in self._samples if sample.at - old.at <= self.WINDOW_S] + [sample]
        first = self._samples[0]
        elapsed = sample.at - first.at
        return (sample.accounted - first.accounted) / elapsed if elapsed > 0 else 0.0


class LiveDisplay:
    """One table that changes in place, for a terminal. Use it as a context manager."""

    def __init__(self, console: Console, published: Published) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._published = published
        self._rates = Rates()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, sample: Sample) -> None:
        table = Table(title="events on their way", min_width=min(70, self._console.width))
        cells = _cells(sample, self._rates.add(sample))
        wide = self._console.width >= NARROWEST_WIDTH
        if self._published.total and wide:
            cells["published"] += f" of {self._published.total:,}"
        for name in cells:
            table.add_column(name, justify="right", min_width=LIVE_WIDTH if wide else None)
        table.add_row(*cells.values())
        self._live.update(table, refresh=True)


class LineDisplay:
    """A heading, then a line of numbers every two seconds, for logs and pipes. Use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rates = Rates()
        self._next_at: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, sample: Sample) -> None:
        cells = _cells(sample, self._rates.add(sample))
        if self._next_at is None:
            self._print(cells.keys())
        elif sample.at < self._next_at:
            return
        self._next_at = sample.at + LINE_EVERY_S
        self._print(cells.values())

    def _print(self, cells: Iterable[str]) -> None:
        line = "".join(f"{cell:>{COLUMN_WIDTH}}" for cell in cells)
        self._console.print(line, highlight=False, soft_wrap=True)


def _cells(sample: Sample, rate: float) -> dict[str, str]:
    """What both displays show, by heading; `rate` is in records per second."""
    numbers = {
        "published": sample.published,
        "stored": sample.stored,
        "projected": sample.projected,
        "counted": sample.counted,
        "lag": sample.lag,
    }
    return {name: f"{number:,}" for name, number in numbers.items()} | {"rate": f"{rate:,.0f}/s"}


def make_display(console: Console, published: Published) -> LiveDisplay | LineDisplay:
    """The display that fits where the output goes."""
    return LiveDisplay(console, published) if console.is_terminal else LineDisplay(console)
