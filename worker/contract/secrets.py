"""Finds what must never be stored of an account or a payment: passwords, social security and card numbers."""

import re
from collections.abc import Mapping
from typing import Any, Final

from worker.contract.card_numbers import holds_card_number
from worker.contract.rejection import Rejected, RejectReason

# As keys are written: capitals, dashes and underscores aside.
_SECRET_KEYS: Final = frozenset(
    {
        "password",
        "passwordhash",
        "hashedpassword",
        "ssn",
        "socialsecuritynumber",
        "cardnumber",
        "cvv",
        "cvc",
    }
)
_BETWEEN_WORDS: Final = re.compile(r"[^a-z0-9]")
# What looks like a card number here is none: ids, times, and telephone numbers in their international form (E.164).
_PLAIN: Final = re.compile(
    r"[0-9a-fA-F]{24}"
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:.]+([Zz]|[+-][0-9:]+)"
    r"|\+[0-9](?:[ ().\-]{0,2}[0-9]){5,14}"
)
_ENVELOPE_IDS: Final = frozenset({"event_id", "occurred_at", "ip_address"})


def secret_in(fields: Mapping[str, Any]) -> Rejected | None:
    """Why an event may not be stored for what stands in it, in whatever place; None for one that may."""
    waiting: list[Any] = [{name: each for name, each in fields.items() if name not in _ENVELOPE_IDS}]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            for key, value in item.items():
                if _BETWEEN_WORDS.sub("", key.lower()) in _SECRET_KEYS:
                    return Rejected(
                        RejectReason.FORBIDDEN_FIELD,
                        "hold a password, a number of a card or of a person",
                        "details",
                    )
                waiting += (key, value)
        elif isinstance(item, list):
            waiting += item
        elif not (isinstance(item, str) and _PLAIN.fullmatch(item)) and holds_card_number(item):
            return Rejected(
                RejectReason.CARD_NUMBER, "must hold nothing that looks like a card number", "details"
            )
    return None
