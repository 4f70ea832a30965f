"""What the server's answers to a burn mean."""

import uuid
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from worker.errors import Retryable
from worker.storage import fenced
from worker.storage.errors import translated


class _Leases:
    name = "leases"


async def _burn(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    async def answered(*_arguments: Any, **_options: Any) -> None:
        with translated():
            raise OperationFailure("said by the server", code)

    monkeypatch.setattr(fenced, "run_on_session", answered)
    leases: Any = _Leases()
    await fenced.burn_session(leases, "partition:t:0", uuid.uuid4(), deadline_s=1.0)


async def test_a_burn_whose_answer_the_oplog_has_lost_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server says so only of the very number it remembers, and goes on refusing older ones (tried)."""
    await _burn(monkeypatch, 217)


@pytest.mark.parametrize("code", [1, 11602])
async def test_a_burn_without_an_answer_is_none(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    with pytest.raises(Retryable):
        await _burn(monkeypatch, code)
