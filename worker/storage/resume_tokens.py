"""When a resume token is from, and whether it can be one at all.

A token's `_data` is the hexadecimal form of a server key that sorts by bytes, so tokens compare as strings. It
starts with a type byte (82, a timestamp) and the seconds of the cluster time, big-endian.
"""

import string
from typing import Any

_TIMESTAMP = "82"
# Type byte, seconds, increment: nothing shorter names a point in time.
_SHORTEST = 2 + 8 + 8


def token_time_s(token: object) -> int | None:
    """Cluster time of a token in Unix seconds, or None for what is not a token."""
    data: Any = token.get("_data") if isinstance(token, dict) else None
    if not isinstance(data, str) or len(data) < _SHORTEST or not data.startswith(_TIMESTAMP):
        return None
    if not all(character in string.hexdigits for character in data):
        return None
    return int(data[2:10], 16)
