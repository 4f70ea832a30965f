"""The field types of the contract: each one says what a producer may write there and what it becomes.

All types are strict: a string is no number, a boolean is no number, and an explicit `null` is refused
everywhere (a field without a value is left out). Error types are values of `RejectReason` where a reason of
their own exists, so the codec can hand them on.
"""

import ipaddress
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, PlainValidator, WithJsonSchema
from pydantic.config import JsonDict
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from worker.contract import times

T = TypeVar("T")

# One event cannot report more: 10^7 s are 115 days. The bound keeps sums of milliseconds far from 2^63.
MAX_SECONDS = 10_000_000
MAX_COUNT = 1_000_000
# Completions are counted exactly up to so many lessons (projections/progress/state.py). No course comes near.
MAX_LESSONS = 5_000

# Values that come again and again are parsed once: learners, courses, lessons, addresses. 2 MB each at most.
_REMEMBERED = 16_384

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# Space as Unicode has it, character by character: `\s` is another set in every language.
_SPACE = r"\x09-\x0d\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# Where `$` also matches before a last line feed, as in Python, a pattern alone would let one pass.
_ONE_LINE: JsonDict = {"not": {"pattern": r"\n"}}
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")


class _NeverNull:
    """Marks an optional field: absent is None, an explicit `null` is refused."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: dict[str, Any] = dict(handler(source))
        inner: CoreSchema = schema["schema"]  # of the `nullable` schema that `T | None` stands for
        return inner


Maybe = Annotated[T | None, _NeverNull()]


class _Uuid:
    """A UUID in its one usual form. Read by pydantic itself: every event has a new one, and `UUID` takes 1 µs."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.str_schema(strict=True, pattern=f"^{_UUID}$")
        return core_schema.custom_error_schema(
            core_schema.chain_schema([written, core_schema.uuid_schema(strict=False)]),
            custom_error_type="uuid",
            custom_error_message="must be a UUID in its form of 36 characters",
        )


def _parse_id(value: Any) -> str:
    if isinstance(value, str) and len(value) == 24 and (plain := _plain_id(value)):
        return plain
    raise PydanticCustomError("object_id", "must be 24 hexadecimal digits")


@lru_cache(maxsize=_REMEMBERED)
def _plain_id(value: str) -> str | None:
    """In small letters; None for what is no id."""
    return value.lower() if _OBJECT_ID.fullmatch(value) else None


def _parse_ip(value: Any) -> str:
    # 45 characters hold the longest IPv6 address; a zone ("%eth0") means nothing outside its own machine.
    if isinstance(value, str) and len(value) <= 45 and "%" not in value and (plain := _plain_ip(value)):
        return plain
    raise PydanticCustomError("ip_address", "must be an IPv4 or IPv6 address")


@lru_cache(maxsize=_REMEMBERED)
def _plain_ip(value: str) -> str | None:
    """An address in its one spelling; None for what is none."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    # An IPv4 address in IPv6 clothing has several spellings: the plain one is kept.
    return str(getattr(address, "ipv4_mapped", None) or address)


def _at_most_4_kib(value: Any) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("string", "must be a string")
    if len(value.encode()) > NOTE_BYTES:
        raise PydanticCustomError("note_size", "must be at most 4 KiB of UTF-8")
    return value


def whole(value: Any) -> Any:
    """To JSON 65.0 is the integer 65; anything else stays as it is."""
    return int(value) if type(value) is float and value.is_integer() else value


def _written(parse: Callable[[Any], Any], **schema: Any) -> tuple[PlainValidator, WithJsonSchema]:
    return PlainValidator(parse), WithJsonSchema({"type": "string", **schema})


NOTE_BYTES = 4096

EventId = Annotated[
    UUID,
    _Uuid(),
    WithJsonSchema({"type": "string", "format": "uuid", "pattern": f"^{_UUID}$", "maxLength": 36}),
]
Id = Annotated[str, *_written(_parse_id, pattern=f"^{_OBJECT_ID.pattern}$", maxLength=24)]
EventTime = Annotated[
    datetime,
    *_written(
        times.parse_event_time,
        pattern=times.EVENT_TIME_PATTERN,
        description="RFC 3339 with an offset, in the years 1970 to 2100.",
        **{"not": {"pattern": times.NOT_AN_EVENT_TIME}},
    ),
]
Time = Annotated[
    datetime,
    *_written(
        times.parse_time,
        pattern=times.TIME_PATTERN,
        description="RFC 3339 with an offset.",
        **{"not": {"pattern": times.NOT_A_TIME}},
    ),
]
IpAddress = Annotated[str, *_written(_parse_ip, maxLength=45, anyOf=[{"format": "ipv4"}, {"format": "ipv6"}])]
Note = Annotated[str, *_written(_at_most_4_kib, maxLength=NOTE_BYTES, description="At most 4 KiB of UTF-8.")]

Name = Annotated[str, Field(max_length=256)]
Key = Annotated[
    str, Field(min_length=1, max_length=256)
]  # names one thing: an empty one would be everybody's
UserAgent = Annotated[str, Field(max_length=1024)]
Url = Annotated[str, Field(max_length=2048, pattern=rf"^https?://[^{_SPACE}]+$", json_schema_extra=_ONE_LINE)]
Currency = Annotated[str, Field(max_length=3, pattern=r"^[A-Z]{3}$")]
DecimalText = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,4})?$", json_schema_extra=_ONE_LINE)]

Number = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Stars = Annotated[float, Field(ge=1, le=5, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT), BeforeValidator(whole)]
LessonTotal = Annotated[int, Field(ge=1, le=MAX_LESSONS), BeforeValidator(whole)]
