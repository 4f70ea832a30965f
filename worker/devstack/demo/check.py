"""One statement about a run that must hold."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """`detail` says what was seen."""

    name: str
    holds: bool
    detail: str
