"""Families of events: the events of one family are about the same kind of thing, and its streams are named by it."""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.contract.events.interactions import MODELS
from worker.contract.models import Envelope

LEARNER = ("course", "user")
"""A learner in a course."""


@dataclass(frozen=True, slots=True)
class Family:
    """What the events of one kind have in common.

    `about` are the entities of a stream, in the order of its name: an event needs the id of each, and that is all
    that its stream, versions and document follow from (`contract.identity`). `events` are the models by event type;
    they require these ids, and whatever else an event of the type needs. What identifies a person goes into the
    stored event's `personal`, in every family.
    """

    name: str
    about: tuple[str, ...]
    events: Mapping[str, type[Envelope]]


INTERACTIONS = Family("interactions", LEARNER, MODELS)

FAMILIES: tuple[Family, ...] = (INTERACTIONS,)
"""THE registration of families."""

EVENT_TYPES: frozenset[str] = frozenset(name for family in FAMILIES for name in family.events)
"""Of all families."""
