"""Finds what looks like a payment card number, so that none is ever stored.

One random number in ten passes the Luhn check: issuer and length must fit as well.
"""

import re
from typing import Any, Final, NamedTuple


class _Issuer(NamedTuple):
    """Numbers of these lengths begin with one of these ranges of six digits."""

    lengths: frozenset[int]
    ranges: tuple[tuple[int, int], ...]


def _issuer(lengths: str, prefixes: str) -> _Issuer:
    """Ranges from prefixes such as `51-55 2221-2720`, lengths from `13 16-19`."""

    def spans(text: str) -> list[tuple[str, str]]:
        return [(first, last or first) for first, _, last in (part.partition("-") for part in text.split())]

    return _Issuer(
        frozenset(length for first, last in spans(lengths) for length in range(int(first), int(last) + 1)),
        tuple((int(first.ljust(6, "0")), int(last.ljust(6, "9"))) for first, last in spans(prefixes)),
    )


# By ISO/IEC 7812 and what the issuers publish. Each further issuer costs numbers that are no cards: those named here
# take 2.5 % of all numbers of 16 digits (a test counts them). Diners' 38 and 39 with 16 digits, hardly ever issued,
# would be another 0.2 %.
_ISSUERS: Final = (
    _issuer("13 16-19", "4"),  # Visa
    _issuer("16", "51-55 2221-2720"),  # Mastercard
    _issuer("15", "34 37"),  # American Express
    _issuer("16-19", "6011 644-649 65"),  # Discover, also RuPay and Elo
    _issuer("16-19", "62 8100-8171"),  # UnionPay
    _issuer("16-19", "3528-3589"),  # JCB
    _issuer("14 16-19", "300-305 3095"),  # Diners Club
    _issuer("14", "36 38-39"),  # Diners Club
    _issuer("13-19", "5018 5020 5038 5893 6304 6706 6709 6759 6761-6763 6771"),  # Maestro
    _issuer("16-19", "2200-2204"),  # Mir
    _issuer("16", "606985-608500 508500-508999"),  # RuPay
    _issuer("16", "5019"),  # Dankort
    _issuer("16", "506699-506778 509000-509999 627780 636297 636368"),  # Elo
    _issuer("16", "606282 384100"),  # Hipercard
    _issuer("16 18-19", "506099-506198"),  # Verve
    _issuer("16", "979200-979289"),  # Troy
)
_SEPARATOR = r"[\s.\-\u2010-\u2015]"
_RUN = re.compile(rf"\d+(?:{_SEPARATOR}{{1,3}}\d+)*")
_GROUP = re.compile(r"\d+")


def holds_card_number(value: Any) -> bool:
    """True if a key, string or number anywhere in this JSON value looks like a card number.

    That is: 13-19 digits that pass the Luhn check and that an issuer may have, in one piece or in groups parted
    by spaces, dashes or dots. Groups around it (an expiry date, say) do not hide it.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif _is_in_text(f"{item:.0f}" if isinstance(item, float) else str(item)):
            return True
    return False


def _is_in_text(text: str) -> bool:
    return any(_is_in_groups(_GROUP.findall(run)) for run in _RUN.findall(text) if len(run) >= 13)


def _is_in_groups(groups: list[str]) -> bool:
    for first in range(len(groups)):
        digits = ""
        for group in groups[first:]:
            digits += group
            if len(digits) > 19:
                break
            if len(digits) >= 13 and _is_issued(digits) and _passes_luhn(digits):
                return True
    return False


def _is_issued(digits: str) -> bool:
    """Whether some issuer has numbers that begin so, of this length."""
    prefix, length = int(digits[:6]), len(digits)
    return any(
        length in issuer.lengths and any(first <= prefix <= last for first, last in issuer.ranges)
        for issuer in _ISSUERS
    )


def _passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1: from the right every second digit is doubled; the digit sum is a multiple of ten."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + place % 2)
        total += number - 9 if number > 9 else number
    return total % 10 == 0
