"""Burning the owners before again has one deadline for all of them."""

from typing import Any
from uuid import UUID

import pytest

from tests.support.clocks import ManualClock
from worker.errors import Retryable
from worker.storage import partition_lease
from worker.storage.partition_lease import PartitionLease, burn_again

SESSIONS = tuple(UUID(int=number) for number in range(1, 6))


@pytest.mark.parametrize(("took_s", "burned"), [(1.0, 5), (8.0, 3)])
async def test_a_server_that_answers_slowly_is_asked_again_later_newest_owner_first(
    monkeypatch: pytest.MonkeyPatch, took_s: float, burned: int
) -> None:
    clock, asked = ManualClock(), []

    async def slow(_leases: Any, _key: str, session: UUID, *, deadline_s: float) -> None:
        asked.append(session)
        clock.advance(took_s)

    monkeypatch.setattr(partition_lease, "burn_session", slow)
    database: Any = type("Database", (), {"leases": None})
    lease = PartitionLease("topic", 0, UUID(int=9), SESSIONS)
    if burned == len(SESSIONS):
        await burn_again(database, lease, clock, deadline_s=20.0)
    else:
        with pytest.raises(Retryable, match="3 of 5"):
            await burn_again(database, lease, clock, deadline_s=20.0)
    assert asked == list(reversed(SESSIONS))[:burned]
