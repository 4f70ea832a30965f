"""What is wrong with a setting, in an operator's words: the validation library's own name its types and patterns."""

from collections.abc import Callable, Mapping
from typing import Any

_Context = Mapping[str, Any]

# By the library's name of the mistake. What it may quote in its context are limits, never the value.
_WORDS: Mapping[str, Callable[[_Context], str]] = {
    "int_parsing": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "int_parsing_size": lambda _: "is too large a number",
    "float_parsing": lambda _: "must be a number",
    "finite_number": lambda _: "must be a number",
    "bool_parsing": lambda _: "must be true or false",
    "greater_than": lambda context: f"must be above {context['gt']:g}",
    "greater_than_equal": lambda context: f"must be {context['ge']:g} or more",
    "less_than": lambda context: f"must be below {context['lt']:g}",
    "less_than_equal": lambda context: f"must be {context['le']:g} or less",
    "literal_error": lambda context: f"must be {_or(context['expected'])}",
    "enum": lambda context: f"must be {_or(context['expected'])}",
    "string_too_short": lambda context: f"must have {context['min_length']} characters or more",
    "too_short": lambda context: f"must have {context['min_length']} characters or more",
    "string_too_long": lambda context: f"must have {context['max_length']} characters or fewer",
    "string_pattern_mismatch": lambda context: _PATTERNS.get(
        context["pattern"], f"must match {context['pattern']}"
    ),
    "value_error": lambda context: str(context["error"]),
}
_PATTERNS: Mapping[str, str] = {
    r"^[A-Za-z0-9._-]{1,249}$": "must be 1 to 249 letters, digits, dots, underscores and hyphens",
    r"^[A-Za-z0-9_-]{1,48}$": "must be 1 to 48 letters, digits, underscores and hyphens",
}


def words_for(detail: Mapping[str, Any]) -> str:
    """The sentence for one of pydantic's error details; the value itself is never in it."""
    made = _WORDS.get(detail["type"])
    return made(detail.get("ctx") or {}) if made is not None else "cannot be used"


def _or(expected: object) -> str:
    """`'a', 'b' or 'c'` without the quotation marks."""
    return str(expected).replace("'", "")
