"""What is wrong with a setting or record, in people's words; the validation library's own name types and patterns."""

from collections.abc import Callable, Mapping
from typing import Any

from worker.words import counted

_Context = Mapping[str, Any]

# By the library's name of the mistake. What it may quote in its context are limits, never the value.
_WORDS: Mapping[str, Callable[[_Context], str]] = {
    "missing": lambda _: "is missing",
    "extra_forbidden": lambda _: "is not a field of the contract",
    "string_type": lambda _: "must be a string",
    "int_type": lambda _: "must be a whole number",
    "float_type": lambda _: "must be a number",
    "bool_type": lambda _: "must be true or false",
    "model_type": lambda _: "must be an object",
    "dict_type": lambda _: "must be an object",
    "list_type": lambda _: "must be an array",
    "int_parsing": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "int_parsing_size": lambda _: "is too large a number",
    "float_parsing": lambda _: "must be a number",
    "finite_number": lambda _: "must be a number",
    "bool_parsing": lambda _: "must be true or false",
    "greater_than": lambda context: f"must be above {_number(context['gt'])}",
    "greater_than_equal": lambda context: f"must be {_number(context['ge'])} or more",
    "less_than": lambda context: f"must be below {_number(context['lt'])}",
    "less_than_equal": lambda context: f"must be {_number(context['le'])} or less",
    "literal_error": lambda context: f"must be {_or(context['expected'])}",
    "enum": lambda context: f"must be {_or(context['expected'])}",
    "string_too_short": lambda context: f"must have {counted(context['min_length'], 'character')} or more",
    "too_short": lambda context: f"must have {counted(context['min_length'], 'character')} or more",
    "string_too_long": lambda context: f"must have {counted(context['max_length'], 'character')} or fewer",
    "string_pattern_mismatch": lambda context: _form(context["pattern"]),
    "value_error": lambda context: str(context["error"]),
}
_PATTERNS: Mapping[str, str] = {
    r"^[A-Za-z0-9._-]{1,249}$": "must be 1 to 249 letters, digits, dots, underscores and hyphens",
    r"^[A-Za-z0-9_-]{1,48}$": "must be 1 to 48 letters, digits, underscores and hyphens",
    r"^[a-z0-9][a-z0-9_]{0,31}$": "must be 1 to 32 small letters, digits and underscores, no underscore first",
    r"^[A-Z]{3}$": "must be three capital letters",
    r"^[0-9]{1,12}(\.[0-9]{1,4})?$": "must be a decimal number of up to 12 digits, a dot and up to 4 digits",
}
_URL = "^https?://"


def words_for(detail: Mapping[str, Any], otherwise: str = "cannot be used") -> str:
    """The sentence for one of pydantic's error details; the value itself is never in it.

    `otherwise` is said of a mistake that the table does not know.
    """
    made = _WORDS.get(detail["type"])
    return made(detail.get("ctx") or {}) if made is not None else otherwise


def _number(limit: float) -> str:
    """A limit as one writes it in a setting: 3600000, not 3.6e+06."""
    return str(int(limit)) if limit == int(limit) else str(limit)


def _form(pattern: str) -> str:
    if pattern.startswith(_URL):
        return "must be an http or https URL without spaces"
    return _PATTERNS.get(pattern, f"must match {pattern}")


def _or(expected: object) -> str:
    """`'a', 'b' or 'c'` without the quotation marks."""
    return str(expected).replace("'", "")
