"""Invariant 7: the notifications that are required, once each; and what their receiver saw of them."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.oracle.adopted import adopted_in
from tests.oracle.case import Case, Delivery
from tests.oracle.finding import miscounted, shortened, unequal
from tests.oracle.progress import milestones, percentage_at_welcome
from tests.oracle.reported import Event, at
from tests.oracle.stored import Document

_MILESTONES = {"welcome": "welcome", "completion": "completed"}
_OPEN = ("pending", "taken")
_TOO_OLD = "the milestone was too old"
# Its row was lost: it may have reached its receiver before, and is not sent by itself again.
_REMADE = "made again by a rebuild"


def outbox_rows(case: Case) -> Iterator[str]:
    """One row per milestone that follows from the events, and no other."""
    wanted = Counter(required_keys(case))
    yield from miscounted("notification", wanted, Counter(row["_id"] for row in case.stored.notifications))
    pairs = Counter((row["kind"], row["stream_id"]) for row in case.stored.notifications)
    for (kind, stream), count in pairs.items():
        if count > 1:
            yield f"{stream} has {count} notifications of kind {kind}"


def row_contents(case: Case) -> Iterator[str]:
    """Each row says what was true at its milestone; what a replay met first, or was old, is suppressed."""
    streams = case.stored.folded_streams
    records = {document["stream_id"]: document for document in case.stored.progress}
    for row in case.stored.notifications:
        stream = row["stream_id"]
        if stream in streams:
            subject = f"notification {row['_id']}"
            data = streams[stream][0]["event_data"]
            expected = {"_id": f"{row['kind']}:{stream}", **{n: data[n] for n in ("user_id", "course_id")}}
            yield from unequal(subject, expected, row)
            # Which of the moments depends on what had arrived when the row was made.
            adopted = adopted_in(streams[stream])
            moments = set(map(at, streams[stream])) | (adopted.moments if adopted else set())
            if row["data"].get("reached_at") not in moments:
                yield f"{subject} says {row['data'].get('reached_at')}, when nothing happened"
            if not _was_so(row, streams[stream]):
                yield f"{subject} says {row['data'].get('percentage')} %, which was not so at its milestone"
            yield from _suppression(subject, row, records.get(stream))


def _suppression(subject: str, row: Document, record: Document | None) -> Iterator[str]:
    reached = (record or {}).get("milestones", {}).get(_MILESTONES.get(row["kind"], ""))
    # A row with a channel was stopped by the learner's switches.
    silent = row["status"] == "suppressed" and row["channel"] is None
    # A row that is silent because of its age says so, and is older than what it speaks of.
    late = row["last_error"] is not None and row["last_error"].startswith(_TOO_OLD)
    late = late and row["data"]["reached_at"] < row["created_at"]
    if reached is not None and silent != (reached["by"] == "replay" or late or _is_remade(row)):
        yield f"{subject} is {row['status']}, and its milestone was first met by {reached['by']}"


def _is_remade(row: Document) -> bool:
    return row["last_error"] is not None and row["last_error"].startswith(_REMADE)


def _was_so(row: Document, events: Sequence[Event]) -> bool:
    """A completion says 100. A welcome says what had been done before it, by the events that had arrived."""
    said = row["data"].get("percentage")
    if row["kind"] == "completion":
        return bool(said == 100)
    arrived = sorted(events, key=lambda event: event["version"])
    return any(
        said == percentage_at_welcome(arrived[:count]) for count in reversed(range(1, len(arrived) + 1))
    )


def deliveries(case: Case) -> Iterator[str]:
    """Nothing waits any more; the receiver saw every key that was sent, and no other."""
    received = case.evidence.received
    if received is None:
        return
    seen = {delivery.key for delivery in received}
    accepted = Counter(delivery.key for delivery in received if delivery.accepted)
    rows = {row["_id"]: row for row in case.stored.notifications}
    for key in sorted(set(required_keys(case)) & rows.keys()):
        yield from _arrival(rows[key], seen=key in seen, accepted=accepted[key] > 0)
    for key in sorted(seen - rows.keys()):
        yield f"the receiver saw {shortened(key)}, which is not in the outbox"
    again = sum(count - 1 for count in accepted.values())
    if again > case.evidence.repeats:
        yield f"the receiver accepted {again} keys again, at most {case.evidence.repeats} may be"


def delivered_bodies(case: Case) -> Iterator[str]:
    """A key always has the same bytes, and they speak of that key."""
    bodies: dict[str, set[str]] = defaultdict(set)
    for delivery in case.evidence.received or ():
        if delivery.body is not None:
            bodies[delivery.key].add(delivery.body)
    for key, texts in bodies.items():
        if len(texts) > 1:
            yield f"the receiver saw {len(texts)} different bodies under {shortened(key)}"
        if any(json.loads(text).get("key") != key for text in texts):
            yield f"the body under {shortened(key)} speaks of another key"


def required_keys(case: Case) -> Sequence[str]:
    """The keys of all milestones that follow from the stored events, but for those of canaries."""
    return [
        f"{kind}:{stream}"
        for stream, events in case.stored.counted_streams.items()
        for kind, reached in _reached(milestones(events)).items()
        if reached
    ]


def parse_deliveries(text: str) -> Sequence[Delivery]:
    """A receiver's log: one JSON object a line with `key`, and `accepted` (true if left out) and `body` if known."""
    fields = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [Delivery(each["key"], each.get("accepted", True), each.get("body")) for each in fields]


def _was_tried_before(row: Document) -> bool:
    """Whether an attempt came to no end: it may have sent it, before the learner wanted no messages any more."""
    attempts = row.get("attempts")
    return isinstance(attempts, int) and attempts > 1


def _arrival(row: Document, *, seen: bool, accepted: bool) -> Iterator[str]:
    status, silent = row["status"], row["status"] == "suppressed"
    if status in _OPEN:
        yield f"notification {row['_id']} is still {status}"
    elif silent and accepted and not _is_remade(row) and not _was_tried_before(row):
        yield f"notification {row['_id']} is suppressed and reached its receiver"
    elif status == "failed" and not seen:
        yield f"notification {row['_id']} failed and its receiver never saw it"
    elif status == "sent" and row["channel"] != "log" and not accepted:
        yield f"notification {row['_id']} is marked as sent and never reached its receiver"


def _reached(moments: Mapping[str, Any]) -> Mapping[str, bool]:
    return {kind: moments[name] is not None for kind, name in _MILESTONES.items()}
