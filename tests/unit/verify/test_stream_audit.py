"""One stream against its rows and its document, without a server."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from bson import Int64
from hypothesis import given
from hypothesis import strategies as st

from projections.progress.projection import PROGRESS
from tests.integration.verify.history import Learner, learner, without
from worker.verify.findings import FINDINGS_KEPT, Fault, Finding, Kind, Tally
from worker.verify.fold_audit import DocumentDigest, FoldAudit, digest
from worker.verify.stream_audit import StreamAudit

WHOLE = learner("ada", events=20)
AT = datetime(2024, 1, 1, tzinfo=UTC)


def audited(of: Learner, cuts: Sequence[int] = ()) -> StreamAudit:
    """The learner's stream, fed in slices that begin at `cuts`, with all its rows."""
    audit = StreamAudit(
        of.stream, [FoldAudit(of.stream, PROGRESS, DocumentDigest.of(of.progress, PROGRESS.paths))]
    )
    borders = [0, *sorted(cuts), len(of.events)]
    for begin, end in pairwise(borders):
        audit.feed(of.events[begin:end])
    audit.close()
    for row in of.rows:
        audit.meet(row)
    return audit


@given(st.sets(st.integers(0, 20), max_size=5))
def test_slices_do_not_matter(cuts: set[int]) -> None:
    audit = audited(WHOLE, sorted(cuts))

    assert [*audit.take_findings(), *audit.missing_rows(), *audit.extra_rows] == []
    assert (audit.events, audit.voids, audit.last_version) == (20, 1, 20)


@given(st.sets(st.integers(0, 19), max_size=5), st.integers(2, 19))
def test_a_hole_is_reported_once_wherever_the_slices_end(cuts: set[int], hole: int) -> None:
    audit = audited(without(learner("ada", events=20, void_at=None), hole), sorted(cuts))

    assert [finding.name for finding in audit.take_findings()] == ["version_hole"]


PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.mark.parametrize(
    ("trace", "is_wrong"),
    [
        ({"traceparent": PARENT}, False),
        ({"traceparent": PARENT, "tracestate": "a=1,b=2"}, False),
        ({"traceparent": PARENT.upper()}, True),
        ({"traceparent": PARENT, "tracestate": "no state"}, True),
        ({"tracestate": "a=1"}, True),
    ],
)
def test_a_trace_that_ingest_could_not_have_kept_is_found(trace: dict[str, str], is_wrong: bool) -> None:
    first, *others = WHOLE.events
    changed = {**first, "metadata": {**first["metadata"], **trace}}
    audit = audited(Learner((changed, *others), WHOLE.progress))
    found = [(finding.name, "metadata.traceparent" in finding.detail) for finding in audit.take_findings()]
    assert found == ([("event_different", True)] if is_wrong else [])


def test_a_digest_does_not_see_the_order_of_fields() -> None:
    one = {"a": 1, "b": {"c": [{"d": 1, "e": 2}], "f": AT}}
    other = {"b": {"f": AT, "c": [{"e": 2, "d": 1}]}, "a": 1}

    assert digest(one) == digest(other)


@pytest.mark.parametrize("other", [1.0, Int64(1), True, "1", None, [1]])
def test_a_digest_sees_the_type_of_a_value(other: object) -> None:
    assert digest({"a": 1}) != digest({"a": other})


def test_a_digest_sees_the_order_of_a_list() -> None:
    assert digest({"a": [1, 2]}) != digest({"a": [2, 1]})


def test_a_tally_keeps_some_findings_and_counts_all() -> None:
    tally = Tally()

    tally.report(Finding(Kind.ROW, Fault.EXTRA, "s", str(number)) for number in range(FINDINGS_KEPT + 5))

    result = tally.result()
    assert len(result.findings) == FINDINGS_KEPT
    assert result.finding_counts == {"row_extra": FINDINGS_KEPT + 5}
    assert not result.ok
