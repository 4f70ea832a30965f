"""The valid events of a file as records of a job, chunk by chunk, with the place behind each chunk."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from worker.contract.limits import Limits
from worker.contract.origin import origin_header
from worker.kafka.checking import EXAMPLES_KEPT, in_line, why_invalid
from worker.kafka.files import Format, OutgoingRecord, Statements, UnreadableLine, records_of
from worker.kafka.lines import Source
from worker.kafka.resumable import Place, ResumableLines


@dataclass(slots=True)
class Chunk:
    """Some lines of a file: the records among them that are valid events, and the first of those that are not.

    Statements that are left out are of nothing that the contract knows. `place` is behind the chunk's last line.
    """

    records: list[OutgoingRecord] = field(default_factory=list)
    lines: int = 0
    invalid: int = 0
    left_out: int = 0
    place: Place = field(default_factory=Place)
    examples: list[UnreadableLine] = field(default_factory=list)

    def refuse(self, line: UnreadableLine) -> None:
        """Count a line that is no valid event."""
        self.invalid += 1
        if len(self.examples) < EXAMPLES_KEPT:
            self.examples.append(line)


@dataclass(frozen=True, slots=True)
class FileRecords:
    """How a job reads files: their format, the job that the records name, and what a valid event is."""

    format: Format
    origin: str
    limits: Limits
    own_home_page: str | None = None

    def chunks(self, source: Source, name: str, begin: Place, size: int, now: datetime) -> Iterator[Chunk]:
        """Chunks of at most `size` records, from `begin` on; the last one may hold none.

        Raises OtherFile, and what `Source.lines` does.
        """
        lines, statements = ResumableLines(source, name, begin), Statements(self.own_home_page)
        chunk, header = Chunk(place=begin), origin_header(self.origin)

        def ended() -> Chunk:
            before = chunk.place.lines
            chunk.place, chunk.left_out = lines.place, statements.left_out.total()
            chunk.lines = chunk.place.lines - before
            return chunk

        found = records_of(
            lines,
            self.format,
            on_unreadable=lambda line: chunk.refuse(line),
            statements=statements,
            first_line=begin.lines + 1,
        )
        for record in found:
            rejected = why_invalid(record, now, self.limits)
            if rejected is None:
                chunk.records.append(replace(record, headers=(*record.headers, header)))
            else:
                chunk.refuse(UnreadableLine(record.line, in_line(rejected)))
            if len(chunk.records) + chunk.invalid >= size:
                yield ended()
                chunk = Chunk(place=chunk.place)
                statements.left_out.clear()
        yield ended()
