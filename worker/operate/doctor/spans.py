"""Spans of time as people say them: findings share this."""

from datetime import timedelta

_UNITS = (("day", 86_400.0), ("hour", 3_600.0), ("minute", 60.0), ("second", 1.0))


def in_words(span: timedelta) -> str:
    """In the largest unit of which there are two or more: `36 hours`, `7 days`."""
    seconds = span.total_seconds()
    for unit, size in _UNITS:
        if seconds >= 2 * size or size == 1.0:
            return _counted(seconds / size, unit)
    raise AssertionError("unreachable: the last unit takes everything")


def _counted(number: float, unit: str) -> str:
    shown = f"{number:,.1f}".removesuffix(".0")
    return f"{shown} {unit}{'' if shown == '1' else 's'}"
