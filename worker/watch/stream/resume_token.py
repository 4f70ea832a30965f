"""Resume tokens as far as watching looks into them: which is earlier, and which is of another history."""

from collections.abc import Iterable, Mapping
from typing import Any

from bson import Timestamp

from worker.storage.leases import Token
from worker.storage.resume_tokens import token_time_s

# A new primary may know less of the cluster time than the old one told, for a moment.
_SLACK_S = 10


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
