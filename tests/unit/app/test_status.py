"""How a look at everything ends: what is missing decides, and what nobody could look at."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from worker.app.exits import ExitCode
from worker.app.status import Status
from worker.settings import RoleName
from worker.storage.worker_models import Worker
from worker.storage.workers import LIVES_FOR, Seen

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def seen(*roles: str, silent_s: float = 1.0) -> Seen:
    fields = {"host": "pod", "pid": 7, "version": "1", "revision": "unknown", "python": "3.11"}
    document = {"_id": "pod:7:aa", "roles": list(roles), "started_at": NOW, "seen_at": NOW, **fields}
    return Seen(Worker.model_validate(document), timedelta(seconds=silent_s))


def status(seen_workers: Sequence[Seen] | None, **unknown: str) -> Status:
    return Status(NOW, {"mongodb": None, "kafka": None}, workers=seen_workers, unknown=unknown)


def test_all_is_well_when_every_role_has_a_live_worker() -> None:
    workers = [seen("ingest", "progress"), seen("counts", "notify", "retry", "canary")]

    assert status(workers).missing_roles == []
    assert status(workers).code == ExitCode.OK


def test_a_role_of_a_worker_that_is_silent_for_long_has_nobody() -> None:
    workers = [seen(*RoleName, silent_s=LIVES_FOR.total_seconds()), seen("ingest")]

    assert status(workers).missing_roles == ["progress", "counts", "notify", "retry"]
    assert status(workers).code == ExitCode.DIFFERENCE
    assert status([]).missing_roles == list(RoleName)


def test_what_could_not_be_looked_at_is_told_by_the_code_before_anything_else() -> None:
    assert status([], lag="kafka: nobody listens there").code == ExitCode.UNREACHABLE
    assert status(None, workers="mongodb: away").missing_roles == []
