"""Times of the contract: RFC 3339 with an offset, read to aware UTC in whole milliseconds, and written in one way.

The patterns say exactly what is read, in words that every JSON Schema validator knows: days that are in the calendar,
and no look-around. Where `$` matches before a last line feed, as in Python, what is no time must be said as well.
(`format: date-time` is not used: most validators do not check it, and those that do know no leap seconds.)
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic_core import PydanticCustomError

from worker.contract.rejection import RejectReason

_FIRST_YEAR, _FIRST_DAY, _LAST_YEAR = "1970", "1970-01-01", "2100"
_FIRST_MOMENT: Final = datetime(1, 1, 1, tzinfo=UTC)
_LAST_MOMENT: Final = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)

_MONTH_AND_DAY = (
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    r"|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
# Offsets are quarters of an hour: a leap second, at the end of a day in UTC, ends one of these minutes everywhere.
_CLOCK = r"(?:[01][0-9]|2[0-3]):(?:[0-5][0-9]:[0-5][0-9]|(?:14|29|44|59):60)(?:\.[0-9]{1,32})?"
_OFFSET = r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"


def _pattern(years: str, leap_years: str) -> str:
    return rf"^(?:(?:{years})-{_MONTH_AND_DAY}|(?:{leap_years})-02-29)[Tt]{_CLOCK}{_OFFSET}$"


_DIVIDED_BY_4 = r"0[48]|[2468][048]|[13579][26]"

# Years 1 to 9999: the calendar of both Python and MongoDB's drivers begins and ends there.
TIME_PATTERN: Final = _pattern(
    r"[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000",
    rf"[0-9]{{2}}(?:{_DIVIDED_BY_4})|(?:{_DIVIDED_BY_4})00",
)
NOT_A_TIME: Final = r"\n"
# The years 1970 to 2100 as written. A time series is slow as soon as it holds anything before 1970 in UTC: on the
# first day no offset may lead there.
EVENT_TIME_PATTERN: Final = _pattern(
    r"19[7-9][0-9]|20[0-9]{2}|2100", r"19(?:7[26]|8[048]|9[26])|20(?:[02468][048]|[13579][26])"
)
_AHEAD_OF_UTC = r"\+(?:00:0[1-9]|00:[1-5]|0[1-9]|[12])"
NOT_AN_EVENT_TIME: Final = rf"\n|^{_FIRST_DAY}.*{_AHEAD_OF_UTC}"

# What the patterns say, without the calendar, which `fromisoformat` knows.
_AHEAD = re.compile(_AHEAD_OF_UTC)
_FORM = re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[Tt]{_CLOCK}{_OFFSET}")


def parse_time(value: object) -> datetime:
    """Any time of the contract; a leap second is the next second.

    Raises PydanticCustomError. What an offset carries out of the calendar becomes its first or last moment: `never`
    stays `never`.
    """
    if not isinstance(value, str) or not _FORM.fullmatch(value):
        raise PydanticCustomError("rfc_3339", "must be an RFC 3339 time with an offset")
    text = value.upper()
    is_leap_second = text[17] == "6"
    if is_leap_second:
        text = f"{text[:17]}59{text[19:]}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise PydanticCustomError("rfc_3339", "must be a time that exists in the calendar") from None
    try:
        if moment.tzinfo is not UTC:
            moment = moment.astimezone(UTC)
        if is_leap_second:
            moment += timedelta(seconds=1)
    except OverflowError:
        return _FIRST_MOMENT if moment.year == _FIRST_MOMENT.year else _LAST_MOMENT
    beyond = moment.microsecond % 1000
    return moment - timedelta(microseconds=beyond) if beyond else moment


def parse_event_time(value: object) -> datetime:
    """When an event occurred: in the years 1970 to 2100 as written, and not before 1970 in UTC."""
    moment = parse_time(value)
    text = str(value)
    if not _FIRST_YEAR < text[:4] <= _LAST_YEAR and not _is_of_first_year(text):
        raise PydanticCustomError(RejectReason.TIME_OUT_OF_RANGE.value, "must lie in the years 1970 to 2100")
    return moment


def _is_of_first_year(text: str) -> bool:
    """Whether the time lies in 1970 both as written and in UTC."""
    return text.startswith(_FIRST_YEAR) and not (text.startswith(_FIRST_DAY) and _AHEAD.search(text))


def spelt(moment: datetime) -> str:
    """A time in UTC with milliseconds, as JavaScript writes it."""
    return f"{moment.isoformat(timespec='seconds')[:19]}.{moment.microsecond // 1000:03d}Z"
