"""Exit codes are an interface: they do not move."""

import pytest

from worker.app.exits import DrainOverdue, ExitCode, RoleDied, Unreachable, exit_code
from worker.errors import Fatal, Fenced, Misconfigured, Refused, Retryable, SchemaMismatch, WorkerError
from worker.jobs.errors import Cancelled, Held, LeaseLost


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Misconfigured("x"), 2),
        (Refused("x"), 2),
        (SchemaMismatch("x"), 3),
        (Unreachable("x"), 4),
        (Retryable("x"), 4),
        (RoleDied("x"), 5),
        (DrainOverdue("x"), 6),
        (Held("x"), 8),
        (Cancelled("x"), 9),
        (LeaseLost("x"), 10),
        (Fatal("x"), 7),
        (Fenced("x"), 7),
        (WorkerError("x"), 7),
    ],
)
def test_every_error_of_the_tree_has_its_code(error: WorkerError, code: int) -> None:
    assert exit_code(error) == code


def test_codes_do_not_move() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "DIFFERENCE": 1,
        "USAGE": 2,
        "SCHEMA": 3,
        "UNREACHABLE": 4,
        "ROLE_DIED": 5,
        "DRAIN_OVERDUE": 6,
        "FAILED": 7,
        "HELD": 8,
        "CANCELLED": 9,
        "TAKEN_OVER": 10,
        "DEFECT": 70,
        "INTERRUPTED": 130,
    }
