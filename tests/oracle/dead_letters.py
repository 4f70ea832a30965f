"""Invariant 8: dead letters are the ledger's poison and conflicts, exact bytes, expected reason, nothing healthy."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.oracle.case import Case
from tests.oracle.finding import miscounted, shortened
from tests.oracle.stored import Document

# The table of docs/contract.md: why a record is refused.
REASONS = frozenset(
    {
        *("too_large", "not_utf8", "not_json", "not_an_object", "duplicate_key", "not_finite"),
        *("lone_surrogate", "integer_out_of_range", "too_deep", "unsupported_version", "unknown_event_type"),
        *("unknown_field", "missing_field", "invalid_field", "time_out_of_range", "details_too_large"),
        *("details_too_deep", "details_too_many_keys", "details_bad_key", "card_number", "forbidden_field"),
        *("conflict", "refused_by_store", "undecodable"),
    }
)


def kept_once(case: Case) -> Iterator[str]:
    """Each poisonous or contradicting record has one dead letter with its bytes."""
    healthy, logged = _healthy(case), case.logged_values
    values = {dead_letter["_id"]: case.stored.bytes_of(dead_letter) for dead_letter in case.stored.records}
    for kind, conflicts in (("conflict", True), ("poison", False)):
        entries = [entry for entry in case.ledger if entry.kind == kind]
        certain = Counter(entry.value for entry in entries if entry.acknowledged)
        # A producer that sends again may put a record into the log twice; each place has its own letter.
        wanted = Counter({entry.value: max(certain[entry.value], logged[entry.value]) for entry in entries})
        unsure = Counter(entry.value for entry in entries) - wanted
        found = Counter(
            values[dead_letter["_id"]]
            for dead_letter in case.stored.records
            if (dead_letter["reason"] == "conflict") == conflicts
            and values[dead_letter["_id"]] not in healthy
        )
        yield from miscounted(f"dead letter ({kind})", wanted, found, allowed=unsure)


def nothing_healthy(case: Case) -> Iterator[str]:
    """No record that can be stored is among them."""
    healthy = _healthy(case)
    for dead_letter in case.stored.records:
        if case.stored.bytes_of(dead_letter) in healthy:
            yield f"dead letter {dead_letter['_id']} ({dead_letter['reason']}) holds a healthy record"


def reasons(case: Case) -> Iterator[str]:
    """Each says why, in a word of the contract, and the one that the producer expects."""
    expected: dict[bytes, set[str]] = defaultdict(set)
    for entry in case.ledger:
        if entry.reason is not None:
            expected[entry.value].add(entry.reason)
    for dead_letter in case.stored.records:
        wanted = expected.get(case.stored.bytes_of(dead_letter), REASONS)
        if dead_letter["reason"] not in wanted:
            words = " or ".join(sorted(wanted)) if len(wanted) < len(REASONS) else "a reason of the contract"
            yield f"dead letter {dead_letter['_id']} says {dead_letter['reason']}, not {words}"


def exact_bytes(case: Case) -> Iterator[str]:
    """Size and checksum are those of the value, no part is missing, and no position has two letters."""
    places: Counter[tuple[str, int, int, bytes]] = Counter()
    numbers: dict[str, list[int]] = defaultdict(list)
    for part in case.stored.dead_letters:
        if part["kind"] == "part" and "of" not in part:
            numbers[part["part_of"]].append(part["part"])
    for dead_letter in case.stored.records:
        value = case.stored.bytes_of(dead_letter)
        places[dead_letter["topic"], dead_letter["partition"], dead_letter["offset"], value] += 1
        if dead_letter["size_bytes"] != len(value):
            yield f"dead letter {dead_letter['_id']} holds {len(value)} bytes of {dead_letter['size_bytes']}"
        if dead_letter["payload_sha256"] != hashlib.sha256(value).digest():
            yield f"dead letter {dead_letter['_id']} holds other bytes than its checksum says"
        parts = sorted(numbers[dead_letter["_id"]])
        if parts != list(range(1, dead_letter["parts"] + 1)):
            yield f"dead letter {dead_letter['_id']} has the parts {parts} of {dead_letter['parts']}"
    for (topic, partition, offset, _), count in places.items():
        if count > 1:
            yield f"the record at {topic}:{partition}:{offset} has {count} dead letters"


def as_logged(case: Case) -> Iterator[str]:
    """Value, key and headers are those of the record at that place of the log."""
    log = case.evidence.log
    records = {(each.topic, each.partition, each.offset): each for each in log.records} if log else {}
    for dead_letter in case.stored.records:
        record = records.get((dead_letter["topic"], dead_letter["partition"], dead_letter["offset"]))
        if record is not None:
            key = case.stored.joined(dead_letter, "key") if "key_parts" in dead_letter else dead_letter["key"]
            long = "headers_parts" in dead_letter
            headers = case.stored.joined(dead_letter, "headers") if long else _headers(dead_letter)
            logged = _as_in_a_batch(record.headers) if long else record.headers
            if (case.stored.bytes_of(dead_letter), key, headers) != (record.value or b"", record.key, logged):
                yield f"dead letter {shortened(dead_letter['_id'])} is not what the log holds there"


def _headers(dead_letter: Document) -> tuple[tuple[str, bytes | None], ...]:
    return tuple((header["key"], header["value"]) for header in dead_letter["headers"])


def _as_in_a_batch(headers: Sequence[tuple[str, bytes | None]]) -> bytes:
    """Number, then length and bytes of each name and value; lengths are zigzag varints."""
    encoded = _number(len(headers))
    for name, value in headers:
        encoded += _number(len(name.encode())) + name.encode()
        encoded += _number(-1) if value is None else _number(len(value)) + value
    return encoded


def _number(number: int) -> bytes:
    left = 2 * number if number >= 0 else -2 * number - 1
    digits = []
    while left > 127:
        digits.append(left % 128 + 128)
        left //= 128
    return bytes([*digits, left])


def _healthy(case: Case) -> frozenset[bytes]:
    return frozenset(entry.value for entry in case.ledger if entry.kind in ("ok", "duplicate"))
