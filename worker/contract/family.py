"""What a family of events is: the events of one family are about the same kind of thing, and name its streams."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from worker.contract.data_class import DataClass
from worker.contract.limits import ALL_LESSONS, WHOLE_COURSES, Limits
from worker.contract.models import Envelope

LEARNER = ("course", "user")
"""A learner in a course."""

FURTHER_IDS: Final = ("content_id", "block_id", "relationship_id", "workflow_id", "promotion_id")
"""The fields of the envelope that only some families have."""

STREAM_IDS: Final = (*FURTHER_IDS, "transaction_id")
"""What stored events may have beside the ids of learner, course and lesson. A transaction's is made of its text."""


class Inlet(StrEnum):
    """Where events come in: each inlet is a topic of its own, with the rules that hold for all that it carries."""

    INTERACTIONS = "interactions"
    CONTENT = "content"
    ACCOUNTS = "accounts"
    BILLING = "billing"
    WORKER = "worker"  # the worker's own: only it may write there, and no other topic takes these events

    @property
    def limits(self) -> Limits | None:
        """How large its records may be, where that is not what holds for all."""
        return {Inlet.CONTENT: WHOLE_COURSES, Inlet.WORKER: ALL_LESSONS}.get(self)

    @property
    def refuses_secrets(self) -> bool:
        """Whether passwords, social security numbers and card numbers are refused wherever they stand."""
        return self in (Inlet.ACCOUNTS, Inlet.BILLING)


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """What the events of one kind have in common.

    `about` are the entities of a stream, in the order of its name: an event needs the id of each, and that is all
    that its stream, versions and document follow from (`contract.identity`). `events` are the models by event type;
    they require these ids, and whatever else an event of the type needs. An entity in `derived` has no id of its own:
    it is made of the text under this key of `details`. `classes` has the privacy class of every field by its path
    (`contract.data_map`), `examples` what the example of each type has beside the fields that all events have.
    `unsaid` are those of its rules that no JSON Schema can say, one clause each. Events with `time_series` have a row
    in `user_interactions`: only what learners do can have one.
    """

    name: str
    inlet: Inlet
    about: tuple[str, ...]
    events: Mapping[str, type[Envelope]]
    classes: Mapping[str, DataClass] = field(default_factory=dict)
    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    derived: Mapping[str, str] = field(default_factory=dict)
    unsaid: tuple[str, ...] = ()
    time_series: bool = False
    # What is asked of every record, made once.
    limits: Limits | None = field(init=False)
    refuses_secrets: bool = field(init=False)
    further_ids: tuple[str, ...] = field(init=False)
    """Those of `FURTHER_IDS` that its events may have."""

    def __post_init__(self) -> None:
        names = {name for model in self.events.values() for name in model.model_fields}
        further = tuple(name for name in FURTHER_IDS if name in names)
        object.__setattr__(self, "limits", self.inlet.limits)
        object.__setattr__(self, "refuses_secrets", self.inlet.refuses_secrets)
        object.__setattr__(self, "further_ids", further)


@dataclass(frozen=True, slots=True, eq=False)
class EventTypes:
    """The event types that a reader knows, each with its family."""

    families: tuple[Family, ...]
    by_name: Mapping[str, Family] = field(init=False)
    max_record_bytes: int | None = field(init=False)
    """Of the family that may have the largest records; None where all families keep to the limits that are given."""

    def __post_init__(self) -> None:
        by_name = {name: family for family in self.families for name in family.events}
        sizes = [family.limits.max_record_bytes for family in self.families if family.limits is not None]
        object.__setattr__(self, "by_name", by_name)
        object.__setattr__(self, "max_record_bytes", max(sizes, default=None))

    def prepare(self) -> None:
        """Make what the models validate with: else the first event of each type would wait for its own."""
        for family in self.families:
            for model in family.events.values():
                model.model_rebuild()
