"""What one run publishes: a simulation with its ledger, or a file's lines."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

import orjson

from worker.devstack.demo.options import DemoOptions
from worker.devstack.simulator.simulation import Simulation, simulate
from worker.kafka.files import OutgoingRecord, Statements, UnreadableLine, read_records


@dataclass(slots=True)
class DemoInput:
    """`unreadable` fills while `records` is read: lines that could not be translated and were not published.

    `statements` counts those that have no event, by verb.
    """

    options: DemoOptions
    simulation: Simulation | None
    unreadable: list[UnreadableLine] = field(default_factory=list)
    statements: Statements = field(default_factory=Statements)

    @classmethod
    def prepare(cls, options: DemoOptions) -> "DemoInput":
        """Simulate, unless a file is named; the file is read while it is published."""
        simulation = None if options.input else simulate(options.seed, options.events, lives=False)
        return cls(options, simulation, statements=Statements(options.xapi_home_page))

    @property
    def total(self) -> int | None:
        """Records to publish, where that is known in advance."""
        return len(self.simulation.records) if self.simulation else None

    def records(self) -> Iterator[OutgoingRecord]:
        """Every record, in its order."""
        if self.simulation is not None:
            yield from self.simulation.records
        elif self.options.input is not None:
            yield from read_records(
                self.options.input,
                self.options.format,
                on_unreadable=self.unreadable.append,
                statements=self.statements,
            )

    def event_ids(self) -> list[UUID]:
        """The simulation's event ids, each once; empty for a file."""
        records = self.simulation.records if self.simulation else ()
        return list(dict.fromkeys(UUID(orjson.loads(record.value or b"")["event_id"]) for record in records))
