"""The trace an event belongs to: W3C trace context in the headers of its record, kept with the event as it came.

It says which request of a producer's the event comes from, and is no part of the event: no fingerprint has it, and
nothing is decided by it. What is no trace context says nothing; it never costs the event.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

PARENT: Final = "traceparent"
STATE: Final = "tracestate"

LONGEST_PARENT: Final = 55
"""Characters of a `traceparent` of version 00. One of a newer version is kept as what that version reads of it."""
LONGEST_STATE: Final = 512
"""Bytes of a `tracestate`: every participant has to hand on so many, and need not hand on more."""

# Version, trace, parent and flags; what a newer version has behind them is nothing to us.
_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
# A newer version may be longer, within reason.
_LONGEST_GIVEN: Final = 512
_NO_VERSION: Final = b"ff"
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16
# One member of a tracestate: a vendor's key and what it says.
_MEMBER: Final = re.compile(
    r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_MOST_MEMBERS: Final = 32


class TraceContext(NamedTuple):
    """Where an event comes from, by the two headers of the standard."""

    parent: str
    state: str | None = None

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, the same in all that one request caused."""
        return self.parent[3:35]

    @property
    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """The headers of a record that carries the event on."""
        state = () if self.state is None else ((STATE, self.state.encode("ascii")),)
        return ((PARENT, self.parent.encode("ascii")), *state)


def trace_of(headers: Iterable[tuple[str | bytes, bytes | None]]) -> TraceContext | None:
    """The trace that a record's headers name, None where they name none. Never raises, whatever they hold.

    Of several headers of one name the last one counts, as clients of Kafka read them.
    """
    parent = state = None
    for name, value in headers:
        if name == PARENT:
            parent = value
        elif name == STATE:
            state = value
    return None if parent is None else _read(parent, state)


def trace_in(event: Mapping[str, Any]) -> TraceContext | None:
    """The trace that is kept with a stored event, None where there is none. Never raises, whatever the document."""
    metadata = event.get("metadata")
    if not isinstance(metadata, Mapping):
        return None
    parent, state = metadata.get(PARENT), metadata.get(STATE)
    if not isinstance(parent, str):
        return None
    said = state.encode("ascii", "replace") if isinstance(state, str) else None
    return _read(parent.encode("ascii", "replace"), said)


def _read(parent: bytes, state: bytes | None) -> TraceContext | None:
    found = _PARENT.fullmatch(parent) if len(parent) <= _LONGEST_GIVEN else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == _NO_VERSION or trace == _NO_TRACE or span == _NO_SPAN or (version == b"00" and more):
        return None
    if version != b"00":  # of its flags only the one is known, whether the trace is sampled
        flags = b"%02x" % (int(flags, 16) & 1)
    kept = b"-".join((b"00", trace, span, flags)).decode("ascii")
    return TraceContext(kept, _state(state) if state else None)


def _state(given: bytes) -> str | None:
    """The `tracestate` without white space around it; None for one that is too long, or none at all."""
    if len(given) > LONGEST_STATE or not given.isascii():
        return None
    text = given.decode("ascii").strip(" \t")
    members = [member for each in text.split(",") if (member := each.strip(" \t"))]
    if not members or len(members) > _MOST_MEMBERS or not all(map(_MEMBER.fullmatch, members)):
        return None
    return ",".join(members)
