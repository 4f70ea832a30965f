"""Invariant 10: no secret leaves its place, in whatever spelling.

A canary is a secret of a payload: it may stand in the documents made of that payload and in a dead letter's bytes,
never in logs, metrics or an error's words. A password may stand nowhere at all.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote

from tests.oracle.case import Case
from tests.oracle.stored import Document

SHORTEST = 8
"""Characters of a secret: a shorter one is found where it never was."""
# What a dead letter keeps of the record; everything else is its own words.
_KEPT = frozenset({"value", "key", "headers"})


def planted(case: Case) -> Iterator[str]:
    """Canaries that were in no record prove nothing."""
    for number, canary in enumerate(case.evidence.canaries):
        if not any(_holds(entry.value.decode("latin-1"), canary) for entry in case.ledger):
            yield f"canary {number} was in no record: that it is nowhere proves nothing"


def logs_and_metrics(case: Case) -> Iterator[str]:
    """Neither canaries nor passwords."""
    for what, texts in (("log", case.evidence.logs or {}), ("metrics", case.evidence.metrics or {})):
        for name, text in texts.items():
            yield from _found(f"{what} {name}", text, _all(case))


def words_of_errors(case: Case) -> Iterator[str]:
    """What was written about a failure, not what failed: dead letters without their bytes, and last errors."""
    for dead_letter in case.stored.dead_letters:
        words = {name: value for name, value in dead_letter.items() if name not in _KEPT}
        yield from _found(f"dead letter {dead_letter['_id']}", str(words), _all(case))
    for what, documents in (("queue item", case.stored.queue), ("notification", case.stored.notifications)):
        for document in documents:
            yield from _found(f"{what} {document['_id']}", str(document.get("last_error")), _all(case))


def documents(case: Case) -> Iterator[str]:
    """No password in any document, a dead letter's bytes included."""
    passwords = {f"password {number}": text for number, text in enumerate(case.evidence.passwords)}
    for name, collection in _collections(case).items() if passwords else ():
        for document in collection:
            yield from _found(f"{name} {document.get('_id')}", str(document), passwords)


def _all(case: Case) -> Mapping[str, str]:
    canaries = {f"canary {number}": text for number, text in enumerate(case.evidence.canaries)}
    return canaries | {f"password {number}": text for number, text in enumerate(case.evidence.passwords)}


def _found(place: str, text: str, secrets: Mapping[str, str]) -> Iterator[str]:
    """By number, for a report is a log, too."""
    for name, secret in secrets.items():
        if _holds(text, secret):
            yield f"{name} stands in {place}"


def _holds(text: str, secret: str) -> bool:
    return any(spelling in text for spelling in _spellings(secret))


@lru_cache
def _spellings(secret: str) -> frozenset[str]:
    """As it is, escaped as JSON, repr or URL, in hex and base64."""
    raw = secret.encode()
    return frozenset(
        {
            secret,
            json.dumps(secret)[1:-1],
            repr(secret)[1:-1],
            quote(secret, safe=""),
            raw.hex(),
            *(_in_base64(raw, shift) for shift in range(3)),
        }
    )


def _in_base64(raw: bytes, shift: int) -> str:
    """The digits that depend on the secret alone when it begins `shift` bytes into a group of three."""
    digits = base64.b64encode(bytes(shift) + raw).decode().rstrip("=")
    first = -(-shift * 8 // 6)
    last = (shift + len(raw)) * 8 // 6
    return digits[first:last]


def _collections(case: Case) -> Mapping[str, Sequence[Document]]:
    stored = case.stored
    return {
        "event": stored.events,
        "row": stored.rows,
        "dead letter": stored.dead_letters,
        "progress": stored.progress,
        "projection": stored.projections,
        "course": stored.courses,
        "user": stored.users,
        "notification": stored.notifications,
        "billing row": stored.billing,
        "queue item": stored.queue,
        **stored.others,
    }
