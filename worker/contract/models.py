"""What the models of all events share: the envelope, and `details`, whose keys differ by type.

Unknown envelope fields are refused. In `details` the keys that a model names are checked, any other is allowed.
Limits of a whole record (size, depth, number of keys) are the codec's. What a model validates with is made when it
is needed: most commands never validate an event, and making all of it takes a second.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, get_args

from pydantic import BaseModel, ConfigDict, Field

from worker.contract.fields import EventId, EventTime, Id, IpAddress, Maybe, Name, Number, UserAgent
from worker.contract.upcasters import CURRENT_SCHEMA_VERSION


class Details(BaseModel):
    """The part of an event that differs by type."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, defer_build=True)


class ClosedDetails(Details):
    """`details` that are refused with a key that the model does not name."""

    model_config = ConfigDict(extra="forbid")


class Envelope(BaseModel):
    """What every event may say: which event, of what type, when, and what it is about.

    Which of the ids an event must have follows from its family (see `contract.family`). Further ids, as `content_id`,
    stand in the models of the families that have them.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    event_id: EventId
    event_type: str
    occurred_at: EventTime
    user_id: Maybe[Id] = None
    course_id: Maybe[Id] = None
    lesson_id: Maybe[Id] = None
    producer: Maybe[Name] = None
    session_id: Maybe[Name] = None
    correlation_id: Maybe[Name] = None
    device_type: Maybe[Name] = None
    user_agent: Maybe[UserAgent] = None
    ip_address: Maybe[IpAddress] = None
    value: Maybe[Number] = None
    details: Maybe[Details] = None
    schema_version: Annotated[int, Field(ge=CURRENT_SCHEMA_VERSION, le=CURRENT_SCHEMA_VERSION)] = (
        CURRENT_SCHEMA_VERSION
    )


def by_type(*models: type[Envelope]) -> Mapping[str, type[Envelope]]:
    """Event types to their models, in the models' order: each names its types in the literal of `event_type`."""
    return MappingProxyType(
        {name: model for model in models for name in get_args(model.model_fields["event_type"].annotation)}
    )
