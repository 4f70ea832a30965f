"""What was counted of a record: of the canary's nothing is missing, and whatever there is should not be."""

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId

from projections.counts import count_learner
from projections.counts.projection import COUNTS
from tests.support.counts import Learner, course, user
from worker.contract.reserved import CANARY_COURSE, canary_learner
from worker.verify.findings import Fault
from worker.verify.learner_audit import Learner as Audited
from worker.verify.learner_audit import check_learner

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
Document = dict[str, Any]


def record(of: ObjectId, who: ObjectId) -> Document:
    return Learner(of, who, rev=1).enrol().record()


@pytest.mark.parametrize(
    ("of", "who"),
    [(CANARY_COURSE, canary_learner(NOON)), (course(1), canary_learner(NOON)), (CANARY_COURSE, user(1))],
)
def test_nothing_is_missing_of_the_canary_and_whatever_is_counted_of_it_is_a_finding(
    of: ObjectId, who: ObjectId
) -> None:
    document = record(of, who)
    uncounted = check_learner(Audited(document, None))
    step = count_learner(document, None)
    assert step is not None
    found = check_learner(Audited(document, step.projection)).findings

    assert (list(uncounted.findings), uncounted.waiting) == ([], None)
    assert [(each.kind, each.fault, each.subject) for each in found] == [
        (COUNTS.name, Fault.UNKNOWN, document["stream_id"])
    ]
    assert found[0].about == (COUNTS.counted.collection, document["_id"])


def test_of_anybody_else_what_is_not_counted_is_missing() -> None:
    waiting = check_learner(Audited(record(course(1), user(1)), None)).waiting

    assert waiting is not None
    assert waiting.fault == Fault.MISSING
