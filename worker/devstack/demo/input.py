"""What one run publishes: a simulation with its ledger, or a file's lines."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

import orjson

from worker.devstack.demo.options import DemoOptions
from worker.devstack.simulator.lives.platform import Platform
from worker.devstack.simulator.simulation import Simulation, simulate
from worker.kafka.files import OutgoingRecord, Statements, UnreadableLine, read_records


@dataclass(slots=True)
class DemoInput:
    """What one run publishes.

    `unreadable` fills while `records` is read: lines that could not be translated and were not published.
    `statements` counts those that have no event, by verb.
    """

    options: DemoOptions
    simulation: Simulation | None
    unreadable: list[UnreadableLine] = field(default_factory=list)
    statements: Statements = field(default_factory=Statements)

    @classmethod
    def prepare(cls, options: DemoOptions) -> "DemoInput":
        """Simulate, unless a file is named; the file is read while it is published."""
        simulation = None
        if options.input is None:
            simulation = simulate(options.seed, options.events, with_platform=options.plays_platform)
        return cls(options, simulation, statements=Statements(options.xapi_home_page))

    @property
    def platform(self) -> Platform | None:
        """What the platform publishes beside the learners; None for a file, or without topics for it."""
        return self.simulation.platform if self.simulation and self.options.plays_platform else None

    @property
    def total(self) -> int | None:
        """Records to publish while learners are at it, where that is known in advance."""
        if self.simulation is None:
            return None
        return len(self.simulation.records) + self.meanwhile

    @property
    def meanwhile(self) -> int:
        """How many of these records are the platform's."""
        return len(self.platform.in_term()) if self.platform else 0

    def records(self) -> Iterator[OutgoingRecord]:
        """Every record, in its order: learners', and among them what the platform says meanwhile."""
        if self.simulation is not None:
            topics = self.options.names.topics if self.platform else None
            yield from self.simulation.in_term(topics)
        elif self.options.input is not None:
            yield from read_records(
                self.options.input,
                self.options.format,
                on_unreadable=self.unreadable.append,
                statements=self.statements,
            )

    def event_ids(self) -> list[UUID]:
        """The learners' event ids of the simulation, each once; empty for a file."""
        return event_ids(record.value for record in self.simulation.records) if self.simulation else []


def event_ids(values: Iterable[bytes | None]) -> list[UUID]:
    """The ids of the events in these records, each once."""
    return list(dict.fromkeys(UUID(orjson.loads(value or b"")["event_id"]) for value in values))
