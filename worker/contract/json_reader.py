"""Bytes to one JSON object, strictly: whatever JSON or BSON cannot hold is refused with its reason.

Two readers, one answer: the quick one takes what it can prove to be in order, the strict one takes the rest and
knows every reason. What the quick one takes is exactly what the strict one would make of it.
"""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import orjson

from worker.contract.rejection import Rejected, RejectReason

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

# The depth at which the parser itself gives up depends on the Python version: the limit is ours, well below.
MAX_DEPTH: Final = 64

_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)


class Written(NamedTuple):
    """What a producer wrote: the fields, and their canonical JSON (sorted keys, no white space, UTF-8)."""

    fields: dict[str, Any]
    canonical: bytes


class _RefusalError(Exception):
    """Carries a reason out of the parser's hooks; never leaves this module."""

    def __init__(self, reason: RejectReason, message: str) -> None:
        super().__init__(message)
        self.rejected = Rejected(reason, message)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _RefusalError(RejectReason.DUPLICATE_KEY, "an object has the same key twice")
    return result


def _constant(_name: str) -> Any:
    raise _RefusalError(RejectReason.NOT_FINITE, "NaN and Infinity are not JSON")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _RefusalError(RejectReason.NOT_FINITE, "a number is too large for 64-bit floating point")
    return number


def _int(text: str) -> int:
    # 20 characters hold every 64-bit integer; length first: long digit strings are slow, or refused by int().
    if len(text) <= 20 and INT64_MIN <= (number := int(text)) <= INT64_MAX:
        return number
    raise _RefusalError(RejectReason.INTEGER_OUT_OF_RANGE, "an integer does not fit into 64 bits")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
)


def read_object(value: bytes) -> Written | Rejected:
    """The JSON object in `value`, or why there is none. Never raises.

    Integers fit into 64 bits, floats are finite, no string holds a lone surrogate, no object a key twice, and
    nothing nests deeper than MAX_DEPTH.
    """
    return read_quickly(value) or read_strictly(value)


def read_quickly(value: bytes) -> Written | None:
    """The object, if it is one beyond doubt; None if the strict reader has to look."""
    if b"\\" in value or not _is_shallow(value):
        return None
    try:
        parsed = orjson.loads(value)
    except ValueError:
        return None
    # Integers beyond 64 bits have become floats here, just as large.
    if not isinstance(parsed, dict) or not _are_small(parsed.values()):
        return None
    canonical = _canonical(parsed)
    # Without escapes every quotation mark begins or ends a string, there and here: a key that stood there twice is
    # here once, and so are its marks.
    return Written(parsed, canonical) if value.count(b'"') == canonical.count(b'"') else None


def read_strictly(value: bytes) -> Written | Rejected:
    """The object, or the reason why there is none."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return Rejected(RejectReason.NOT_UTF8, "the record is not valid UTF-8")
    if not _is_shallow(value) and _is_too_deep(value):
        return Rejected(RejectReason.TOO_DEEP, f"the record nests deeper than {MAX_DEPTH} levels")
    try:
        parsed = _DECODER.decode(text)
    except _RefusalError as refusal:
        return refusal.rejected
    except ValueError:
        return Rejected(RejectReason.NOT_JSON, "the record is not JSON")
    if not isinstance(parsed, dict):
        return Rejected(RejectReason.NOT_AN_OBJECT, "the record is JSON, but not an object")
    if b"\\u" in value and _has_lone_surrogate(parsed):
        return Rejected(RejectReason.LONE_SURROGATE, "a string holds half of a surrogate pair")
    return Written(parsed, _canonical(parsed))


def _canonical(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def _are_small(values: Iterable[Any]) -> bool:
    """Whether no number among the values, at any depth, is as large as a 64-bit integer can be."""
    for each in values:
        kind = type(each)
        if kind is str:  # most of them
            continue
        if kind is int or kind is float:
            if not INT64_MIN < each < INT64_MAX:
                return False
        elif (kind is dict and not _are_small(each.values())) or (kind is list and not _are_small(each)):
            return False
    return True


def _is_shallow(value: bytes) -> bool:
    """True where there are too few brackets to nest too deep."""
    return value.count(b"{") + value.count(b"[") <= MAX_DEPTH


def _is_too_deep(value: bytes) -> bool:
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(value):
        match token[0]:
            case b"{" | b"[":
                depth += 1
                if depth > MAX_DEPTH:
                    return True
            case b"}" | b"]":
                depth -= 1
    return False


def _has_lone_surrogate(parsed: dict[str, Any]) -> bool:
    try:
        json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
