"""Known bugs of folding, counting and notifying, as the damage they do to a right run: invariants 5 to 7."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from bson import ObjectId
from bson.decimal128 import Decimal128

from tests.oracle.seeded.right import delivery
from tests.oracle.seeded.run import Run
from worker.storage.database import Document

Bug = Callable[[Run], None]


def token_before_effect(run: Run) -> None:
    """The resume token moved on, then the process died: the stream's last event was never folded."""
    _step_back(run.progress[0])


def write_without_rev_guard(run: Run) -> None:
    """A slow worker overwrote what a faster one had folded, and raised `rev` as if it were news."""
    _step_back(run.progress[1])
    run.progress[1]["rev"] += 1


def folded_twice(run: Run) -> None:
    """A redelivered wake-up added the same event again."""
    record = next(each for each in run.progress if each["time_tracking"]["total_seconds"])
    record["time_tracking"]["total_seconds"] *= 2


def decision_ignored(run: Run) -> None:
    """Somebody left a rating out, and the fold took it all the same."""
    rating = run.event("course_rated")
    about = {"stream_id": rating["stream_id"], "version": rating["version"], "event_id": rating["_id"]}
    stands = {"projection": "progress", "recorded_at": rating["recorded_at"], "taken_back_at": None}
    run.skipped.append({**about, **stands})


def latest_by_arrival(run: Run) -> None:
    """The rating that came last is taken for the one given last."""
    record = next(each for each in run.progress if each["rating"])
    record["rating"] = {"value": 1.25, "rated_at": record["rating"]["rated_at"]}


def late_event_moves_the_clock_back(run: Run) -> None:
    """Last activity follows the order of arrival."""
    record = run.progress[0]
    record["time_tracking"]["last_activity"] -= timedelta(days=1)


def percentage_rounded_up(run: Run) -> None:
    """99.999 % is shown as done."""
    record = next(each for each in run.progress if 0 < each["progress"]["percentage"] < 100)
    record["progress"]["percentage"] = 100.0


def mean_of_rounded_means(run: Run) -> None:
    """The quiz average is carried on from what was shown before, a hundredth off."""
    record = next(each for each in run.progress if each["performance"]["quiz_average"])
    record["performance"]["quiz_average"] = round(record["performance"]["quiz_average"] - 0.01, 2)


def completion_taken_back(run: Run) -> None:
    """The course grew, and who had finished has not any more."""
    record = next(run.finished())
    record["milestones"]["completed"] = None
    record["completion_notified"] = False


def completed_by_the_last_repeat(run: Run) -> None:
    """A lesson finished a second time moves its date."""
    record = next(
        each for each in run.progress if any(one["completed_at"] for one in each["lesson_progress"])
    )
    lesson = next(one for one in record["lesson_progress"] if one["completed_at"])
    lesson["completed_at"] += timedelta(hours=1)


def lessons_in_order_of_arrival(run: Run) -> None:
    """The list says when a lesson was first folded, not when it was begun."""
    record = next(each for each in run.progress if len(each["lesson_progress"]) > 1)
    record["lesson_progress"].reverse()


def certificate_per_issue(run: Run) -> None:
    """A certificate that is issued again stands there twice."""
    record = next(each for each in run.progress if each["certificates"])
    record["certificates"].append(dict(record["certificates"][0]))


def dropped_for_ever(run: Run) -> None:
    """Who left and came back stays dropped."""
    next(each for each in run.progress if each["status"] == "active")["status"] = "dropped"


def counts_as_doubles(run: Run) -> None:
    """Readers get 3.0 lessons."""
    record = run.progress[0]
    record["progress"]["completed_lessons"] = float(record["progress"]["completed_lessons"])


def session_cut_at_midnight(run: Run) -> None:
    """One session counts as two."""
    run.progress[0]["time_tracking"]["session_count"] += 1


def stream_quarantined_and_forgotten(run: Run) -> None:
    """The fold raised for the first event, and nothing ever folded the stream again."""
    stream = run.progress[0]["stream_id"]
    run.progress.remove(run.record(stream))


def counters_outside_the_transaction(run: Run) -> None:
    """The projection says that a learner is counted; the worker died before it raised the course's sums."""
    course = run.course()
    record = next(each for each in run.projections if each["course_id"] == course["_id"])
    for name, value in record["counted"].items():
        course["stats"]["sums"][name] -= value
    course["stats"]["enrollments"]["total"] -= 1


def double_counted_enrolment(run: Run) -> None:
    """A repeated wake-up counts the vector again instead of the difference."""
    stats = run.course()["stats"]
    stats["enrollments"]["total"] += 1
    stats["sums"]["enrolled"] += 1


def left_learners_not_counted(run: Run) -> None:
    """Leaving takes the enrolment back."""
    run.learner()["stats"]["courses_enrolled"] -= 1


def average_of_averages(run: Run) -> None:
    """An instructor's rating is the mean of the courses' means."""
    teacher = next(each for each in run.users if each.get("stats", {}).get("avg_rating"))
    teacher["stats"]["avg_rating"] = round(teacher["stats"]["avg_rating"] + 0.01, 2)


def late_document_summed_from_zero(run: Run) -> None:
    """A course that appears after its learners counts only those who come later."""
    course = run.course()
    course["stats"]["engagement"]["discussion_posts"] = -1
    course["stats"]["ratings"]["distribution"]["4"] += 1


def log_entry_per_wake_up(run: Run) -> None:
    """The activity log has the same enrolment again."""
    user = next(each for each in run.users if each.get("activity_log"))
    user["activity_log"].append(user["activity_log"][-1])


def instructor_without_the_last_learner(run: Run) -> None:
    """What is kept of an instructor was written before the learner, and not again."""
    row = next(each for each in run.content["instructor_statistics"] if each["students"])
    row["students"] -= 1


def revenue_counts_what_was_counted(run: Run) -> None:
    """A row is counted once more when it changes."""
    row = next(each for each in run.content["course_revenue"] if each["revenue"])
    row["revenue"] = {name: 2 * units for name, units in row["revenue"].items()}


def stale_projection(run: Run) -> None:
    """The last revision was never counted."""
    run.projections[0]["source_rev"] -= 1


def never_counted(run: Run) -> None:
    """A wake-up got lost while the lease moved."""
    del run.projections[0]


def notify_before_outbox(run: Run) -> None:
    """The mail went out, then the transaction with its row was ended by the server."""
    run.notifications.remove(run.notification())


def outbox_outside_the_transaction(run: Run) -> None:
    """The learner is counted; the worker died before it wrote the row."""
    row = run.notification()
    run.notifications.remove(row)
    run.received = [each for each in run.received if each.key != row["_id"]]


def marked_before_sending(run: Run) -> None:
    """The row says sent; nobody got anything."""
    key = run.notification("welcome")["_id"]
    run.received = [each for each in run.received if each.key != key]


def welcome_per_enrolment(run: Run) -> None:
    """Who leaves and enrols again is welcomed again: the key holds the event."""
    row = run.notification("welcome")
    run.notifications.append({**row, "_id": f"{row['_id']}:2"})


def replay_notifies(run: Run) -> None:
    """History folded anew welcomes everybody anew."""
    row = next(each for each in run.notifications if each["status"] == "suppressed")
    row |= {"status": "sent", "channel": "webhook"}
    run.received.append(delivery(row))


def welcome_says_what_is_true_now(run: Run) -> None:
    """Enrolled and finished in one batch: the welcome congratulates."""
    row = run.notification("welcome")
    row["data"] = {**row["data"], "percentage": 100.0}


def silenced_without_a_reason(run: Run) -> None:
    """A milestone of yesterday is taken for an old one."""
    row = run.notification("welcome")
    row |= {"status": "suppressed", "channel": None}
    run.received = [each for each in run.received if each.key != row["_id"]]


def payment_let_go_by_a_cap(run: Run) -> None:
    """A record that keeps some payments puts out those it kept."""
    del run.billing[-1]


def retried_though_accepted(run: Run) -> None:
    """The answer 202 is taken for a failure."""
    run.received.append(run.received[0])


def body_remade_at_every_try(run: Run) -> None:
    """A repeat carries the time of the repeat."""
    first = run.received[0]
    body = (first.body or "").replace('"created_at":"2026', '"created_at":"2027')
    run.received.insert(0, replace(first, accepted=False, body=body))


def left_in_the_outbox(run: Run) -> None:
    """A row taken by a worker that died is taken over by nobody."""
    row = run.notification()
    row |= {"status": "taken", "lease_owner": "gone"}
    run.received = [each for each in run.received if each.key != row["_id"]]


def billed_per_enrolment(run: Run) -> None:
    """The transaction is billed once for each enrolment that names it."""
    run.billing.append({**run.billing[0], "_id": ObjectId(), "event_id": UUID(int=99)})


def later_naming_wins(run: Run) -> None:
    """Of two enrolments with one transaction the last to be counted stands."""
    later = next(each for each in run.events if each["_id"] == UUID(int=1))
    named = later["event_data"]["details"]["payment"]["transaction_id"]
    row = next(each for each in run.billing if each["transaction_id"] == named)
    row |= {"event_id": later["_id"], "created_at": later["occurred_at"]}


def enrolment_stored_without_its_payment(run: Run) -> None:
    """A kill between the two, and the record was not read again: the row was there by another's word."""
    payment = next(each for each in run.events if each["event_type"] == "payment_made")
    run.events.remove(payment)


def refund_lowers_the_price(run: Run) -> None:
    """What was given back is taken from the amount."""
    row = run.billing[0]
    row["amount"] = Decimal128(row["amount"].to_decimal() / 2)


def version_without_what_came_late(run: Run) -> None:
    """A price that arrived late is in the course, and not in the version that was there already."""
    version = next(each for each in run.course_versions if "pricing" in each["course_snapshot"])
    del version["course_snapshot"]["pricing"]


def price_beside_the_type_free(run: Run) -> None:
    """Each part of a price is the last word of its own, and nobody asks whether they fit together."""
    version = next(each for each in run.course_versions if "pricing" in each["course_snapshot"])
    assert version["course_snapshot"]["pricing"] == {"type": "free"}
    version["course_snapshot"]["pricing"]["price"] = {"amount": 9.9, "currency": "USD"}


def rolled_back_in_name_only(run: Run) -> None:
    """The version that was left is marked as such, and learners have it still."""
    [history] = run.version_histories
    history["current_version"] = history["versions"][0]["version"]


def course_and_user_of_the_platform_made_by_us(run: Run) -> None:
    """Whose documents they are was not asked."""
    for kind, documents in (("course", run.courses), ("user", run.users)):
        documents[0]["stream_id"] = f"{kind}_{documents[0]['_id']}"


def lesson_that_no_event_made(run: Run) -> None:
    """A document was written for a stream that has not begun."""
    run.content["lesson_content"] = [{"_id": run.courses[0]["_id"], "stream_id": "content_" + "0" * 24}]


def relationship_decided_after_its_end(run: Run) -> None:
    """Whether a relationship closes a cycle was decided once more when it was none any more."""
    gone = {"_id": run.courses[0]["_id"], "stream_id": run.events[0]["stream_id"], "deleted_at": None}
    run.content["content_relationships"] = [{**gone, "effective": True, "reason": None}]


def slug_that_nobody_has(run: Run) -> None:
    """Of two courses that ask for a slug neither is given it."""
    event = run.events[0]
    claim = {"value": "sorting", "at": event["occurred_at"], "event_id": event["_id"]}
    run.courses[0]["claims"] = {"slug": claim}
    run.courses[0].pop("slug", None)


def promotion_that_nobody_made(run: Run) -> None:
    """A document of `promotions` is there that no event has made."""
    run.content["promotions"] = [{"_id": ObjectId(), "stream_id": f"promotion_{ObjectId()}", "version": 1}]


def proof_of_one_course(run: Run) -> None:
    """A course shows of its instructor what it adds up to by itself, and not with the instructor's other ones."""
    course = run.courses[0]
    run.content["instructor_statistics"] = [{"_id": course["instructor_id"]}]
    course["instructor"] |= {
        "social_proof": {"students_taught": 1, "courses_created": 1, "average_rating": 5.0}
    }


WATCH: Mapping[int, Sequence[Bug]] = {
    5: (
        token_before_effect,
        write_without_rev_guard,
        folded_twice,
        decision_ignored,
        latest_by_arrival,
        late_event_moves_the_clock_back,
        percentage_rounded_up,
        mean_of_rounded_means,
        completion_taken_back,
        completed_by_the_last_repeat,
        lessons_in_order_of_arrival,
        certificate_per_issue,
        dropped_for_ever,
        counts_as_doubles,
        session_cut_at_midnight,
        stream_quarantined_and_forgotten,
        version_without_what_came_late,
        price_beside_the_type_free,
        rolled_back_in_name_only,
        course_and_user_of_the_platform_made_by_us,
        lesson_that_no_event_made,
        relationship_decided_after_its_end,
        slug_that_nobody_has,
        promotion_that_nobody_made,
    ),
    6: (
        counters_outside_the_transaction,
        double_counted_enrolment,
        left_learners_not_counted,
        average_of_averages,
        late_document_summed_from_zero,
        log_entry_per_wake_up,
        instructor_without_the_last_learner,
        revenue_counts_what_was_counted,
        stale_projection,
        never_counted,
        proof_of_one_course,
    ),
    7: (
        notify_before_outbox,
        outbox_outside_the_transaction,
        marked_before_sending,
        welcome_per_enrolment,
        replay_notifies,
        welcome_says_what_is_true_now,
        silenced_without_a_reason,
        payment_let_go_by_a_cap,
        retried_though_accepted,
        body_remade_at_every_try,
        left_in_the_outbox,
        billed_per_enrolment,
        later_naming_wins,
        enrolment_stored_without_its_payment,
        refund_lowers_the_price,
    ),
}
"""Each bug under the invariant it belongs to."""


def _step_back(record: Document) -> None:
    record["version"] -= 1
