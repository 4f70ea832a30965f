"""The oracle knows bugs when it sees them: each one, seeded on purpose, breaks the invariant it belongs to."""

import asyncio
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from uuid import uuid4

import pytest
from pymongo import MongoClient

from tests.conftest import RunningMongo
from tests.oracle.case import Case
from tests.oracle.check import ALL, RULES, Rule, check_case, not_checked
from tests.oracle.seeded.bugs_edges import EDGES
from tests.oracle.seeded.bugs_ingest import INGEST, Bug
from tests.oracle.seeded.bugs_watch import WATCH
from tests.oracle.seeded.right import right_run
from tests.oracle.seeded.run import TOPIC, Run
from tests.oracle.stored import read_stored
from worker.storage import schema
from worker.storage.database import make_client, open_database
from worker.storage.driver import close

LEAST_BUGS = 24


@dataclass(frozen=True, slots=True)
class Seeded:
    """A bug and the invariant it belongs to."""

    invariant: int
    bug: Bug

    def __str__(self) -> str:
        return f"{self.invariant}-{self.bug.__name__.replace('_', ' ')}"

    def case(self, right: Run) -> Case:
        """What the run would have been with the bug."""
        run = copy.deepcopy(right)
        self.bug(run)
        return run.case


def _seeded(bugs: Mapping[int, Sequence[Bug]]) -> Iterator[Seeded]:
    return (Seeded(invariant, bug) for invariant, own in bugs.items() for bug in own)


class Verdicts:
    """Which rules of its own invariant each bug breaks, looked up once a bug; a rule that raises ends the test."""

    def __init__(self, right: Run) -> None:
        self._right = right
        self._known: dict[Seeded, frozenset[Rule]] = {}

    def broken(self, seeded: Seeded) -> frozenset[Rule]:
        if seeded not in self._known:
            case = seeded.case(self._right)
            rules = RULES[seeded.invariant]
            self._known[seeded] = frozenset(rule for rule in rules if next(rule(case), None) is not None)
        return self._known[seeded]


BUGS = tuple(chain(_seeded(INGEST), _seeded(WATCH), _seeded(EDGES)))


@pytest.fixture(scope="module")
def right(mongodb: RunningMongo) -> Iterator[Run]:
    """A right run that the schema let in, with its documents as MongoDB gives them back."""
    run, prefix = right_run(), f"test_{uuid4().hex[:12]}"
    try:
        asyncio.run(_insert(mongodb.uri, prefix, run))
        yield run.after_reading(read_stored(mongodb.uri, prefix))
    finally:
        with MongoClient[dict[str, object]](mongodb.uri) as client:
            for name in client.list_database_names():
                if name.startswith(prefix):
                    client.drop_database(name)


@pytest.fixture(scope="module")
def verdicts(right: Run) -> Verdicts:
    return Verdicts(right)


async def _insert(uri: str, prefix: str, run: Run) -> None:
    client = make_client(uri)
    try:
        database = open_database(client, prefix=prefix)
        await schema.apply_schema(database)
        await run.insert(database)
    finally:
        await close(client)


def test_a_right_run_is_accepted_and_nothing_of_it_goes_unchecked(right: Run) -> None:
    assert {entry.kind for entry in right.ledger} == {"ok", "duplicate", "conflict", "poison"}
    assert {row["status"] for row in right.notifications} == {"sent", "suppressed"}
    assert any(True for _ in right.finished())
    assert right.billing
    assert not_checked(right.case) == {}
    assert check_case(right.case) == []


@pytest.mark.parametrize("seeded", BUGS, ids=str)
def test_a_seeded_bug_breaks_its_invariant(verdicts: Verdicts, seeded: Seeded) -> None:
    assert verdicts.broken(seeded)


def test_every_invariant_has_two_bugs_of_its_own_at_least() -> None:
    assert len({seeded.bug for seeded in BUGS}) >= LEAST_BUGS
    for invariant in ALL:
        assert len({seeded.bug for seeded in BUGS if seeded.invariant == invariant}) >= 2, invariant


@pytest.mark.parametrize(
    ("invariant", "rule"),
    [(invariant, rule) for invariant, rules in RULES.items() for rule in rules],
    ids=lambda each: each.__name__ if callable(each) else str(each),
)
def test_no_rule_is_idle(verdicts: Verdicts, invariant: int, rule: Rule) -> None:
    """Each is broken by a bug of its own invariant: a rule that nothing breaks would prove nothing."""
    assert any(rule in verdicts.broken(seeded) for seeded in BUGS if seeded.invariant == invariant)


def test_a_rule_broken_often_is_reported_a_few_times_and_counted(right: Run) -> None:
    run = copy.deepcopy(right)
    run.rows = run.rows[:1]

    findings = check_case(run.case)

    assert {finding.invariant for finding in findings} == {4}
    assert len(findings) == 21
    assert findings[-1].sentence.startswith("... and ")


def test_a_gap_where_the_log_holds_nothing_any_more_is_none_of_the_workers(right: Run) -> None:
    run = copy.deepcopy(right)
    end = run.ends[TOPIC, 0]
    gap = {"first_offset": end, "last_offset": end + 9}
    dead_letter = {
        **run.dead_letter(),
        "_id": "t:0:gap",
        "kind": "gap",
        "reason": "retention",
        "value": None,
        "gap": gap,
    }
    run.dead_letters.append(dead_letter)
    without_log = replace(run.case, evidence=replace(run.case.evidence, log=None))

    assert check_case(run.case) == []
    assert [finding.invariant for finding in check_case(without_log)] == [1]


def test_a_document_that_cannot_be_read_is_a_violation_not_an_end(right: Run) -> None:
    run = copy.deepcopy(right)
    del run.progress[0]["milestones"]

    findings = check_case(run.case)

    assert {finding.invariant for finding in findings} == {5, 6}
    assert any("cannot be read" in finding.sentence for finding in findings)


def test_a_secret_too_short_to_be_looked_for_is_refused(right: Run) -> None:
    run = copy.deepcopy(right)
    run.passwords = ["secret"]

    with pytest.raises(ValueError, match="at least 8 characters"):
        check_case(run.case)
