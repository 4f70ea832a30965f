"""How sensitive a field is: every field of every event has one of these classes (see `contract.data_map`)."""

from enum import StrEnum
from typing import Final


class DataClass(StrEnum):
    """What a field says, and of whom. What is `PERSONAL` lies in the stored event's `personal`."""

    IDENTIFIER = "identifier"  # names a person or a thing by an id that says nothing by itself
    PERSONAL = "personal"  # says who a person is, or is a person's own words
    SENSITIVE = "sensitive"  # says something of a person that only ids name: results, payments, behaviour
    INTERNAL = "internal"  # of the platform's own running
    PUBLIC = "public"  # what the platform shows to everybody, or may


IDENTIFIER: Final = DataClass.IDENTIFIER
PERSONAL: Final = DataClass.PERSONAL
SENSITIVE: Final = DataClass.SENSITIVE
INTERNAL: Final = DataClass.INTERNAL
PUBLIC: Final = DataClass.PUBLIC
