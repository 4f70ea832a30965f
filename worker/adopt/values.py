"""The types of values that a record of the platform's own may hold: wider than the worker's, never guessed.

A driver for JavaScript stores 65 as an integer and 65.5 as a double, and null where something is not known yet: so
numbers may be of any type, and null counts as absent. A value of another kind is a mistake, named by its place.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Annotated, Any

from bson import ObjectId
from bson.decimal128 import Decimal128
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from worker.contract.fields import MAX_LESSONS

NOW = "now"
"""The name in the validation context of the moment of the adoption."""

_MOST = 2**31 - 1
# 300 years: what adds up beyond is no time that anybody spent.
_MOST_SECONDS = 10**10
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)
# As of the contract: a wrong time zone is forgiven, a wrong year is not.
_AHEAD = timedelta(hours=24)


def mistake(message: str) -> PydanticCustomError:
    """What is wrong with a value; the value itself is never in it."""
    return PydanticCustomError("adoption", "{said}", {"said": message})


def number_of(value: Any) -> int | float:
    """Any finite number of BSON's."""
    if isinstance(value, Decimal128):
        value = float(value.to_decimal())
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise mistake("must be a number")
    return int(value) if isinstance(value, int) else value


def _whole(value: Any) -> int:
    number = number_of(value)
    if number != int(number) or not 0 <= number <= _MOST:
        raise mistake(f"must be a whole number from 0 to {_MOST}")
    return int(number)


def _percent(value: Any) -> int | float:
    """More than 100 counts as 100: platforms round, and add up what they rounded."""
    number = number_of(value)
    if number < 0:
        raise mistake("must be 0 or more")
    return min(number, 100)


def _seconds(value: Any) -> int | float:
    number = number_of(value)
    if not 0 <= number <= _MOST_SECONDS:
        raise mistake(f"must lie between 0 and {_MOST_SECONDS} seconds")
    return number


def _stars(value: Any) -> int | float:
    number = number_of(value)
    if not 1 <= number <= 5:
        raise mistake("must lie between 1 and 5")
    return number


def _total(value: Any) -> int | None:
    number = _whole(value)
    if number > MAX_LESSONS:
        raise mistake(f"must be at most {MAX_LESSONS}")
    return number or None


def _moment(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise mistake("must be a date")
    if not _FIRST <= value < _LAST:
        raise mistake("must lie in the years 1970 to 2100")
    return value


def _past(value: Any, info: ValidationInfo) -> datetime:
    moment = _moment(value)
    if moment > (info.context or {})[NOW] + _AHEAD:
        raise mistake("lies in the future")
    return moment


def _object_id(value: Any) -> ObjectId:
    if not isinstance(value, ObjectId):
        raise mistake("must be an ObjectId")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise mistake("must be a string")
    return value


def _true(value: Any) -> bool:
    if not isinstance(value, bool):
        raise mistake("must be true or false")
    return value


Number = Annotated[float, PlainValidator(number_of)]
Whole = Annotated[int, PlainValidator(_whole)]
Percent = Annotated[float, PlainValidator(_percent)]
Seconds = Annotated[float, PlainValidator(_seconds)]
Stars = Annotated[float, PlainValidator(_stars)]
LessonTotal = Annotated[int | None, PlainValidator(_total)]
Moment = Annotated[datetime, PlainValidator(_moment)]
Past = Annotated[datetime, PlainValidator(_past)]
Id = Annotated[ObjectId, PlainValidator(_object_id)]
Text = Annotated[str, PlainValidator(_text)]
Truth = Annotated[bool, PlainValidator(_true)]


def _as_list(value: Any) -> Any:
    if not isinstance(value, list):
        raise mistake("must be an array")
    return value


IsList = BeforeValidator(_as_list)


class Part(BaseModel):
    """A document of the platform's, or one within it. What it has beside the fields named is left to others."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise mistake("must be an object")
        return {name: each for name, each in value.items() if each is not None}
