"""A stored event as the record it would come in today: whoever reads it finds a duplicate, never a conflict."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from projections.event import OWN_TYPES, upcast_document
from worker.contract.codec import decode_event, record_key
from worker.contract.event import Event
from worker.contract.families import ALL_TYPES
from worker.contract.family import Inlet
from worker.contract.fingerprint import agrees, of_document, record_of
from worker.contract.limits import Limits
from worker.contract.origin import origin_header
from worker.contract.trace_context import trace_in
from worker.kafka.files import OutgoingRecord


class Unsent(StrEnum):
    """Why a stored event is not published."""

    ELSEWHERE = "elsewhere"  # it came in at another inlet than is asked for
    OWN = "own"  # a void or an opening: no producer wrote it, and every topic refuses it
    SEALED = "sealed"  # its personal fields cannot be read
    ERASED = "erased"  # its learner was erased
    ALTERED = "altered"  # it is not what its producer sent: verify names it
    NO_EVENT = "no_event"  # the contract of today would refuse it
    UNREADABLE = "unreadable"  # nobody can read the document


def outgoing(
    document: Mapping[str, Any],
    job: str,
    now: datetime,
    limits: Limits,
    inlet: Inlet = Inlet.INTERACTIONS,
) -> OutgoingRecord | Unsent:
    """The record of a stored event of an inlet, published by `job`, or why there is none. Pure, and never raises.

    1. nothing that no producer wrote, or that is not what it was  2. the event in its one spelling, of the newest
    contract  3. read as ingest would read it `now`: what comes back must be the very event that is stored. Its trace
    goes with it.
    """
    try:
        # 1.
        if document["event_type"] in OWN_TYPES:
            return Unsent.OWN
        if document["key_id"] is not None:
            return Unsent.SEALED
        if agrees(document) is False:
            return Unsent.ALTERED
        # 2.
        current = upcast_document(document)
        value = record_of(current)
        family = ALL_TYPES.by_name.get(current["event_type"])
    except Exception:  # whatever somebody made of the document
        return Unsent.NO_EVENT
    if value is None or family is None:
        return Unsent.NO_EVENT
    if family.inlet is not inlet:
        return Unsent.ELSEWHERE
    # 3.
    read = decode_event(value, timestamp=now, limits=limits, types=ALL_TYPES)
    if not isinstance(read, Event) or read.fingerprint != of_document(current):
        return Unsent.NO_EVENT
    if read.stream_id != document["stream_id"]:
        return Unsent.ALTERED
    trace = trace_in(document)
    headers = (origin_header(job), *(trace.headers if trace is not None else ()))
    return OutgoingRecord(value, record_key(value), headers)
