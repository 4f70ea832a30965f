"""Finds what looks like a payment card number, so that none is ever stored."""

import re
from typing import Any

_SEPARATOR = r"[\s.\-\u2010-\u2015]"
_RUN = re.compile(rf"\d+(?:{_SEPARATOR}{{1,3}}\d+)*")
_GROUP = re.compile(r"\d+")


def holds_card_number(value: Any) -> bool:
    """True if a key, string or number anywhere in this JSON value looks like a card number.

    That is: 13-19 digits that pass the Luhn check, in one piece or in groups parted by spaces, dashes or
    dots. Groups around it (an expiry date, say) do not hide it.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif _is_in_text(_as_text(item)):
            return True
    return False


def _as_text(item: Any) -> str:
    if isinstance(item, float):
        return f"{item:.0f}"
    return str(item)


def _is_in_text(text: str) -> bool:
    return any(_is_in_groups(_GROUP.findall(run)) for run in _RUN.findall(text) if len(run) >= 13)


def _is_in_groups(groups: list[str]) -> bool:
    for first in range(len(groups)):
        digits = ""
        for group in groups[first:]:
            digits += group
            if len(digits) > 19:
                break
            if len(digits) >= 13 and _passes_luhn(digits):
                return True
    return False


def _passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1: from the right every second digit is doubled; the digit sum is a multiple of ten."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + place % 2)
        total += number - 9 if number > 9 else number
    return total % 10 == 0
