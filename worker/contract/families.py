"""The families of events: THE registration, and what follows from it."""

from worker.contract.events.accounts import ACCOUNTS
from worker.contract.events.blocks import BLOCKS
from worker.contract.events.courses import COURSES
from worker.contract.events.interactions import INTERACTIONS
from worker.contract.events.lessons import LESSONS
from worker.contract.events.own import OWN
from worker.contract.events.payments import PAYMENTS
from worker.contract.events.promotions import PROMOTIONS
from worker.contract.events.relationships import RELATIONSHIPS
from worker.contract.events.workflows import WORKFLOWS
from worker.contract.family import EventTypes, Family, Inlet

FAMILIES: tuple[Family, ...] = (
    INTERACTIONS,
    LESSONS,
    BLOCKS,
    RELATIONSHIPS,
    WORKFLOWS,
    COURSES,
    ACCOUNTS,
    PAYMENTS,
    PROMOTIONS,
    OWN,
)
"""THE registration of families."""

ALL_TYPES = EventTypes(FAMILIES)
"""Of all families."""

PRODUCERS_TYPES = EventTypes(tuple(family for family in FAMILIES if family.inlet is not Inlet.WORKER))
"""What producers publish: all but the worker's own."""

LEARNER_TYPES = EventTypes((INTERACTIONS,))
"""What learners do."""

EVENT_TYPES: frozenset[str] = frozenset(ALL_TYPES.by_name)
"""Of all families."""

WITHOUT_ROW: frozenset[str] = frozenset(
    name for name, family in ALL_TYPES.by_name.items() if not family.time_series
)
"""Event types that have no row in the time series."""


def families_of(inlet: Inlet) -> tuple[Family, ...]:
    """What comes in there."""
    return tuple(family for family in FAMILIES if family.inlet is inlet)
