"""`sevenp-worker publish` from the open file to the summary: what was sent, and what of it is no valid event."""

from collections.abc import Iterable
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console

from worker.app.exits import ExitCode
from worker.app.producing import open_publisher
from worker.cli.ending import say_error
from worker.cli.options import Format
from worker.kafka.addressing import addressed
from worker.kafka.checking import Checked
from worker.kafka.files import OutgoingRecord, Statements, UnreadableLine, records_of
from worker.kafka.lines import Source, open_source
from worker.kafka.producer import Report
from worker.read_ahead import read_ahead
from worker.settings import Settings, load_settings
from worker.timing import SystemClock, in_thread
from worker.words import counted

# Enough to see what is wrong with a file; the wrong file may have millions.
_MOST_LINES_NAMED = 20
# Of the largest events, 256 KiB, so many are 12 MiB.
_READ_AHEAD = 50


@dataclass(slots=True)
class Publishing:
    """One run of the command; `left` may be asked at any moment."""

    file: Path
    format: Format
    check: bool
    idempotent: bool
    topic: str | None = None
    _acknowledged: int = 0
    _unreadable: list[UnreadableLine] = field(default_factory=list)
    _checked: Checked = field(default_factory=Checked)
    _statements: Statements = field(default_factory=Statements)

    async def run(self) -> int:
        """Publish the file; the exit code says whether every line of it was sent."""
        settings = load_settings()
        topic = self.topic or settings.ingest.topics.interactions
        self._statements.own_home_page = settings.ingest.xapi_home_page
        with ExitStack() as stack:
            # A pipe may be silent for long: whatever reads it does so beside the event loop, which Ctrl-C ends.
            opening = open_source(self.file, twice=self.check)
            source = await in_thread(partial(stack.enter_context, opening))
            if self.check:
                if not await in_thread(partial(self._all_valid, settings, source)):
                    return ExitCode.USAGE
                source.rewind()
            async with (
                open_publisher(settings, topic, idempotent=self.idempotent) as publisher,
                aclosing(read_ahead(self._records(settings, source), _READ_AHEAD)) as chunks,
            ):
                report = await publisher.publish_as_they_come(chunks, on_progress=self._seen)
        self._summarise(topic, report)
        return ExitCode.USAGE if self._unreadable else ExitCode.OK

    def left(self) -> str:
        """What Ctrl-C leaves behind."""
        return (
            f"{counted(self._acknowledged, 'record')} or some more reached the topic; publish the same again when "
            "you like, event ids decide what is a duplicate"
        )

    def _all_valid(self, settings: Settings, source: Source) -> bool:
        """Read everything and send nothing; false, with the lines on stderr, if something is no valid event."""
        for _ in self._records(settings, source):
            pass
        refused = len(self._unreadable) + self._checked.invalid
        if refused:
            lines = [*self._unreadable[:_MOST_LINES_NAMED], *self._checked.examples]
            _name_lines(sorted(lines, key=lambda line: line.line), refused)
            total = self._checked.records + len(self._unreadable)
            say_error(f"nothing was sent; lines that are no valid events: {refused:,} of {total:,}")
        self._checked = Checked()
        self._statements.left_out.clear()
        return not refused

    def _records(self, settings: Settings, source: Source) -> Iterable[OutgoingRecord]:
        """The file's records, each checked on its way."""
        records = records_of(
            source, self.format, on_unreadable=self._unreadable.append, statements=self._statements
        )
        checked = self._checked.look(records, SystemClock().now(), settings.ingest.limits)
        return checked if self.topic else addressed(checked, settings.ingest.topics)

    def _seen(self, acknowledged: int) -> None:
        self._acknowledged = acknowledged

    def _summarise(self, topic: str, report: Report) -> None:
        _name_lines(self._unreadable, len(self._unreadable))
        say = partial(Console(highlight=False, soft_wrap=True).print, markup=False)
        where = topic
        if len(report.topics) > 1:
            where = ", ".join(f"{name} ({number:,})" for name, number in report.topics.items())
        elif report.topics:
            where = next(iter(report.topics))
        say(f"{counted(report.records, 'record')} published to {where} in {report.seconds:.1f} s.")
        if left_out := str(self._statements):
            say(f"{left_out}.")
        if self._unreadable:
            say(f"{counted(len(self._unreadable), 'line')} not published, see above.")
        invalid = self._checked.invalid
        if not invalid:
            return
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self._checked.reasons.most_common())
        who = f"{invalid:,} of them {'is no valid event' if invalid == 1 else 'are no valid events'}"
        if invalid == report.records:
            who = "None of them is a valid event"
        say(f"{who} ({reasons}): the worker will make dead letters of them.")
        say(f"The first is {self._checked.examples[0]}. --check refuses such a file.")


def _name_lines(lines: Iterable[UnreadableLine], total: int) -> None:
    """The first of them, and how many more there are, on stderr."""
    shown = list(lines)[:_MOST_LINES_NAMED]
    for line in shown:
        say_error(str(line))
    if (more := total - len(shown)) > 0:
        say_error(f"... and {counted(more, 'line')} more")
