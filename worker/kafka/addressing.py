"""Which topic a record goes to: that of the inlet its event comes in at."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from worker.contract.codec import family_of
from worker.contract.family import Inlet
from worker.contract.routes import Topics
from worker.errors import Refused
from worker.kafka.files import OutgoingRecord
from worker.settings.ingest import topic_variable


class NoTopic(Refused):
    """An event belongs where nothing comes in; the message says which setting turns that off."""


def addressed(records: Iterable[OutgoingRecord], topics: Topics) -> Iterator[OutgoingRecord]:
    """The same records, each for its topic. What is no event, or none that producers publish, goes to the learners'.

    There it becomes a dead letter, as whatever nobody knows. Raises NoTopic for an event whose inlet is off.
    """
    for record in records:
        family = family_of(record.value or b"")
        inlet = Inlet.INTERACTIONS if family is None or family.inlet is Inlet.WORKER else family.inlet
        topic = topics.of(inlet)
        if not topic:
            place = f"line {record.line}" if record.line else "an event"
            raise NoTopic(f"{place} is of {inlet}, and {topic_variable(inlet)} says that none come in")
        yield record if topic == topics.interactions else replace(record, topic=topic)
