"""The field types of what is said of people: addresses, names of accounts, telephone numbers, languages, time zones.

What identifies an account has one spelling, in small letters: two spellings are one account.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, Final
from unicodedata import normalize

from email_validator import EmailNotValidError, validate_email
from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

# RFC 5321: a path of 256 octets, of which two are its brackets.
LONGEST_EMAIL: Final = 254
_REMEMBERED: Final = 4_096

_USERNAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,63}")
# E.164: a plus, and 7 to 15 digits, grouped as people write them. Without the plus it could be a card's number.
_PHONE: Final = re.compile(r"\+[1-9](?:[ ().-]{0,2}[0-9]){6,14}")
# Of BCP 47 what tells people's languages apart: language, script, region.
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|[0-9]{3}))?")


def one_spelling(name: str) -> str:
    """The one spelling of a valid address, or name of an account: by it, accounts are told apart.

    Nothing here may change with a library: what is stored is made of it again and again.
    """
    return normalize("NFC", name).lower()


def _parse_email(value: Any) -> str:
    if isinstance(value, str) and len(value) <= LONGEST_EMAIL and _is_email(value):
        return value
    raise PydanticCustomError("email", "must be an address to which mail can be sent")


@lru_cache(maxsize=_REMEMBERED)
def _is_email(value: str) -> bool:
    """Whether it can be one. Nobody is asked whether the domain exists."""
    try:
        return bool(validate_email(value, check_deliverability=False))
    except EmailNotValidError:
        return False


def _matching(pattern: re.Pattern[str], message: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        raise PydanticCustomError("form", message)

    return parse


def _parse_time_zone(value: Any) -> str:
    if isinstance(value, str) and value in time_zones():
        return value
    raise PydanticCustomError("time_zone", "must be a time zone of the IANA database")


@lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    """The names in the database that is installed with the worker: the same ones on every machine."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


def _text(pattern: re.Pattern[str], longest: int) -> WithJsonSchema:
    one_line = {"not": {"pattern": r"\n"}}
    return WithJsonSchema(
        {"type": "string", "pattern": f"^{pattern.pattern}$", "maxLength": longest, **one_line}
    )


Email = Annotated[
    str,
    PlainValidator(_parse_email),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": LONGEST_EMAIL}),
]
Username = Annotated[
    str,
    PlainValidator(
        _matching(
            _USERNAME,
            "must be 3 to 64 letters, digits, dots, underscores and hyphens, a letter or digit first",
        )
    ),
    _text(_USERNAME, 64),
]
Phone = Annotated[
    str,
    PlainValidator(_matching(_PHONE, "must be a telephone number in its international form, the + first")),
    _text(_PHONE, 48),
]
Language = Annotated[
    str,
    PlainValidator(_matching(_LANGUAGE, "must be a language of BCP 47, as en, pt-BR or zh-Hant")),
    _text(_LANGUAGE, 12),
]
TimeZone = Annotated[
    str,
    PlainValidator(_parse_time_zone),
    WithJsonSchema({"type": "string", "enum": sorted(time_zones())}),
]
FreeText = Annotated[str, Field(max_length=4_096)]
