"""Resume tokens as far as the worker looks into them: which is earlier, when it was, whether it can be one at all.

A token's `_data` is the hexadecimal form of a server key that sorts by bytes, so tokens compare as strings. It
starts with a type byte (82, a timestamp) and the seconds of the cluster time, big-endian.
"""

import string
from collections.abc import Iterable, Mapping
from typing import Any

from bson import Timestamp

from worker.storage.leases import Token

_TIMESTAMP = "82"
# Type byte, seconds, increment: nothing shorter names a point in time.
_SHORTEST = 2 + 8 + 8
# A new primary may know less of the cluster time than the old one told, for a moment.
_SLACK_S = 10


def token_time_s(token: object) -> int | None:
    """Cluster time of a token in Unix seconds, or None for what is not a token."""
    data: Any = token.get("_data") if isinstance(token, dict) else None
    if not isinstance(data, str) or len(data) < _SHORTEST or not data.startswith(_TIMESTAMP):
        return None
    if not all(character in string.hexdigits for character in data):
        return None
    return int(data[2:10], 16)


def token_moment(token: object) -> Timestamp | None:
    """Cluster time of a token as the server writes it, or None for what is not a token."""
    seconds = token_time_s(token)
    return (
        None if seconds is None or not isinstance(token, Mapping) else Timestamp(seconds, _increment(token))
    )


def _increment(token: Mapping[str, Any]) -> int:
    return int(token["_data"][10:18], 16)


def smallest(tokens: Iterable[Token]) -> Token | None:
    """The earliest token, from which none of the groups misses anything; None if there is none."""
    return min(tokens, key=lambda token: str(token["_data"]).upper(), default=None)


def ahead(token: Token, cluster_time_s: int) -> bool:
    """True for a token of the future: it is of another history, and a stream after it would stay silent."""
    return (token_time_s(token) or 0) > cluster_time_s + _SLACK_S
