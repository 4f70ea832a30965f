"""Known bugs at the edges, as the damage they do to a right run: what never comes to rest (9), what leaks (10)."""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from tests.oracle.seeded.run import CANARY, PASSWORD, TOPIC, Run

Bug = Callable[[Run], None]


def item_of_a_dead_processor(run: Run) -> None:
    """Its lease ran out, and nobody took it back."""
    run.queue[0] |= {"status": "processing", "lease_owner": "gone"}


def attempts_used_up(run: Run) -> None:
    """An outage of MongoDB counted as three failures."""
    run.queue[0]["status"] = "failed"


def commit_of_the_last_record(run: Run) -> None:
    """The committed offset is that of the last record read, not of the next to read."""
    run.committed[TOPIC, 1] -= 1


def partition_without_an_owner(run: Run) -> None:
    """A rebalance left one partition to nobody."""
    del run.committed[TOPIC, 0]


def position_kept_from_another_life(run: Run) -> None:
    """The log was restarted, and the position stayed beyond its end."""
    run.committed[TOPIC, 1] += 100


def lost_without_a_word(run: Run) -> None:
    """A course's slug went to another one, and no item of the queue says so."""
    claim = {"value": "sorting", "at": run.events[0]["occurred_at"], "event_id": run.events[0]["_id"]}
    run.courses[0]["claims"] = {"slug": claim}
    run.courses[0].pop("slug", None)


def held_after_it_is_done(run: Run) -> None:
    """Settling an item forgets to let go of it."""
    run.queue[0]["lease_owner"] = "somebody"


def lag_of_a_revoked_partition(run: Run) -> None:
    """The gauge stands where it was when the partition went away."""
    run.metrics = _changed(run.metrics, f'lag_records{{partition="1",topic="{TOPIC}"}}', "7.0")


def redelivery_counted_as_nothing(run: Run) -> None:
    """Records that were read a second time have no outcome."""
    run.metrics = _changed(run.metrics, f'consumed_total{{topic="{TOPIC}"}}', "600.0")


def outcome_before_the_retry(run: Run) -> None:
    """A batch that is tried again counts as stored twice."""
    run.metrics = _changed(run.metrics, f'processed_total{{outcome="stored",topic="{TOPIC}"}}', "9999.0")


def buffer_overflow(run: Run) -> None:
    """What does not fit is dropped, and at least said so."""
    run.metrics = _changed(run.metrics, 'events_dropped_total{reason="overflow"}', "1.0")


def payload_in_the_log(run: Run) -> None:
    """The record that failed is printed with its failure."""
    run.worker_log += json.dumps({"event": "failed", "input": {"text": CANARY}}) + "\n"


def bytes_in_a_traceback(run: Run) -> None:
    """The exception's text holds the record's bytes, in base64 behind some others."""
    run.worker_log += base64.b64encode(b"xy" + CANARY.encode()).decode() + "\n"


def connection_string_in_the_log(run: Run) -> None:
    """The settings are printed at start, with what opens the database."""
    run.worker_log += f"connecting to mongodb://worker:{quote(PASSWORD, safe='')}@db/?w=majority\n"


def value_in_the_refusal(run: Run) -> None:
    """A dead letter's message repeats what was refused."""
    run.dead_letter()["message"] = f"input should be a lesson, not '{CANARY}'"


def label_from_the_payload(run: Run) -> None:
    """An unknown event type becomes a label."""
    run.metrics += f'sevenp_worker_unknown_total{{event_type="{CANARY}"}} 1.0\n'


def receivers_words_repeat_the_message(run: Run) -> None:
    """A receiver's refusal is kept with all that it quotes."""
    run.notification()["last_error"] = f"400 Bad Request: {CANARY}"


def fold_error_with_its_value(run: Run) -> None:
    """The queue item says which text could not be folded."""
    run.queue[0]["last_error"] = f"ValueError: {CANARY!r} is no number"


def password_in_a_job(run: Run) -> None:
    """A job run keeps the settings it ran under."""
    run.jobs[0]["outcome"] = {"settings": {"SEVENP_NOTIFY_MAIL_PASSWORD": PASSWORD}}


def password_in_a_header_that_is_kept(run: Run) -> None:
    """Redrive signs what it publishes, and the signature's key comes back with the letter."""
    run.dead_letter()["headers"] = [{"key": "signed-with", "value": PASSWORD.encode()}]


def canary_never_planted(run: Run) -> None:
    """The harness looks for what it never published: a bug of the test, not of the worker."""
    run.ledger = [entry for entry in run.ledger if CANARY.encode() not in entry.value]


EDGES: Mapping[int, Sequence[Bug]] = {
    9: (
        item_of_a_dead_processor,
        attempts_used_up,
        lost_without_a_word,
        held_after_it_is_done,
        commit_of_the_last_record,
        partition_without_an_owner,
        position_kept_from_another_life,
        lag_of_a_revoked_partition,
        redelivery_counted_as_nothing,
        outcome_before_the_retry,
        buffer_overflow,
    ),
    10: (
        payload_in_the_log,
        bytes_in_a_traceback,
        connection_string_in_the_log,
        value_in_the_refusal,
        label_from_the_payload,
        receivers_words_repeat_the_message,
        fold_error_with_its_value,
        password_in_a_job,
        password_in_a_header_that_is_kept,
        canary_never_planted,
    ),
}
"""Each bug under the invariant it belongs to."""


def _changed(metrics: str, sample: str, value: str) -> str:
    """The text with another value behind one sample; LookupError where there is no such sample."""
    changed, count = re.subn(rf"(?m)^(\S*{re.escape(sample)}) \S+$", rf"\1 {value}", metrics)
    if count != 1:
        raise LookupError(f"{count} samples are called {sample}")
    return changed
