"""Dead letters as ingest writes them."""

import hashlib

from tests.integration.verify.history import START
from worker.contract.identity import failure_fingerprint
from worker.storage.database import Document


def dead_letter(offset: int, value: bytes = b"{", reason: str = "not_json") -> Document:
    """As ingest writes it."""
    digest = hashlib.sha256(value).digest()
    return {
        "_id": f"t:0:{offset}:{digest.hex()[:16]}",
        "kind": "record",
        "step": "ingest",
        "reason": reason,
        "error_class": reason,
        "field": None,
        "message": "a sentence",
        "topic": "t",
        "partition": 0,
        "offset": offset,
        "event_id": None,
        "key": None,
        "headers": [],
        "value": value,
        "parts": 0,
        "size_bytes": len(value),
        "payload_sha256": digest,
        "fingerprint": failure_fingerprint("ingest", reason, None),
        "kafka_timestamp": START,
        "attempts": 1,
        "redrives": 0,
        "code_version": "0.1.0",
        "created_at": START,
        "gap": None,
    }


def gap(reason: str) -> Document:
    return {
        **dead_letter(9, b""),
        "_id": f"t:0:9-12:{reason}",
        "kind": "gap",
        "reason": reason,
        "value": None,
        "payload_sha256": b"",
        "fingerprint": failure_fingerprint("ingest", reason, None),
        "gap": {"first_offset": 9, "last_offset": 12},
    }


def in_parts(offset: int) -> list[Document]:
    """A dead letter whose value lies in two parts."""
    whole = {**dead_letter(offset, b"one, two"), "value": None, "parts": 2}
    parts = [
        {
            "_id": f"{whole['_id']}#{number}",
            "kind": "part",
            "part_of": whole["_id"],
            "part": number,
            "value": value,
            "created_at": START,
        }
        for number, value in enumerate((b"one, ", b"two"), start=1)
    ]
    return [whole, *parts]


def headers_in_parts(offset: int) -> list[Document]:
    """A dead letter whose headers lie in a part of their own."""
    encoded = b"as a record batch encodes them"
    about = {"headers_size_bytes": len(encoded), "headers_sha256": hashlib.sha256(encoded).digest()}
    whole = {**dead_letter(offset), "headers_parts": 1, **about}
    part = {
        "_id": f"{whole['_id']}#headers1",
        "kind": "part",
        "part_of": whole["_id"],
        "part": 1,
        "of": "headers",
        "value": encoded,
        "created_at": START,
    }
    return [whole, part]
