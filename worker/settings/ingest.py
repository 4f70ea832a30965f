"""Ingest: which topic is read, from where on, and in batches of what size."""

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from math import ceil
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from worker.contract.family import Inlet
from worker.contract.limits import Limits
from worker.contract.routes import USUAL_TOPICS, Topics
from worker.settings.addresses import Topic, http_url
from worker.settings.names import variable
from worker.settings.role import RoleSettings

OFF: Final = "none"
"""In place of a topic: nothing comes in there."""


class StartPolicy(StrEnum):
    """Where a consumer group begins that has no committed offset."""

    EARLIEST = "earliest"
    LATEST = "latest"


class MissingRecords(StrEnum):
    """What a worker does that finds records missing in MongoDB which its group has read."""

    GO_ON = "go-on"
    REFUSE = "refuse"


class OnGap(StrEnum):
    """What becomes of a partition of which records are gone before they were read."""

    CONTINUE = "continue"
    STOP = "stop"


_INLETS: Final = ("topic", "content_topic", "account_topic", "billing_topic", "worker_topic")
"""In the order of `Topics` and `Inlet`."""


def topic_variable(inlet: Inlet) -> str:
    """The variable that names the topic of an inlet."""
    return variable(dict(zip(Inlet, _INLETS, strict=True))[inlet])


def topic_variables(topics: Topics) -> dict[str, str]:
    """Topics as the variables of an environment hold them."""
    return {topic_variable(inlet): topics.of(inlet) or OFF for inlet in Inlet}


class IngestSettings(RoleSettings):
    """What is read of Kafka, and how much of it at once."""

    topic: Topic = "interaction-events"
    """Topic the learner events are read from."""
    content_topic: Topic = USUAL_TOPICS.content
    """Topic of the events about courses, lessons and other content; `none`: they are not read."""
    account_topic: Topic = USUAL_TOPICS.accounts
    """Topic of the events about users' accounts; `none`: they are not read."""
    billing_topic: Topic = USUAL_TOPICS.billing
    """Topic of the events about payments and promotions; `none`: they are not read."""
    worker_topic: Topic = USUAL_TOPICS.worker
    """Topic of the events that the worker itself makes; only it may write there. `none`: they are not read."""
    xapi_home_page: Annotated[str, AfterValidator(http_url)] | None = None
    """Home page of the platform's own xAPI accounts: names that are ObjectIds stay the learners' ids."""
    start_policy: StartPolicy = StartPolicy.EARLIEST
    """Where a consumer group without a committed offset begins: earliest or latest."""
    missing_records: MissingRecords = MissingRecords.GO_ON
    """Where MongoDB holds less than the group has read (a restored backup): go-on, or refuse before `reingest`."""
    on_gap: OnGap = Field(OnGap.CONTINUE, validation_alias="kafka_on_gap")
    """Where records are gone unread (a gap): continue behind them, or stop the partition until `control resume`."""
    position_check_interval_s: float = Field(10.0, gt=0, le=600)
    """How often positions are compared with the ends of the log."""
    max_records: int = Field(5_000, ge=1, le=100_000, validation_alias="ingest_max_records")
    """Largest batch, in records. Batches grow with the backlog."""
    max_bytes: int = Field(15_000_000, ge=1_000_000, le=15_500_000, validation_alias="ingest_max_bytes")
    """Most in hand (two batches), in bytes of records, and largest command: MongoDB takes 16 MB."""
    max_future_hours: float = Field(24.0, ge=0, le=24 * 366)
    """How far an event may lie ahead of its record's time in Kafka."""
    lag_every_s: float = 3.0  # Kafka is asked where the logs end
    max_rows: int = 20_000  # of one time-series command, which `max_bytes` bounds, too
    answer_deadline_s: float = 20.0  # one answer of MongoDB
    # A full batch is decoded, stored and written in so many parts beside each other, which costs MongoDB nothing
    # (tried: parts of 2,000 to 20,000).
    parts_of_a_batch: int = 2

    @property
    def part_records(self) -> int:
        """A batch of more is worked on in parts."""
        return ceil(self.max_records / self.parts_of_a_batch)

    @property
    def topics(self) -> Topics:
        """The topic of each inlet."""
        learners, *others = (getattr(self, name) for name in _INLETS)
        return Topics(learners, *("" if topic == OFF else topic for topic in others))

    def mistakes(self) -> Iterator[str]:
        """Two inlets of one topic would be one row of the route table."""
        yield from super().mistakes()
        for topic in dict.fromkeys(self.topics):
            same = [self.variable(name) for name in _INLETS if getattr(self, name) == topic]
            if len(same) > 1:
                yield f"{' and '.join(same)} name one topic, {topic}: each needs one of its own"

    @property
    def limits(self) -> Limits:
        """What a record may be."""
        return Limits(max_future=timedelta(hours=self.max_future_hours))
