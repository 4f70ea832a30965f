"""Whether a server is one for tests, by whatever it answers to the question."""

from types import SimpleNamespace
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from worker.errors import Retryable
from worker.storage.database import _test_commands_enabled


def _answering(code: int) -> Any:
    async def command(*_words: Any, **_options: Any) -> None:
        raise OperationFailure("CMD_NOT_ALLOWED: getParameter", code)

    return SimpleNamespace(client=SimpleNamespace(admin=SimpleNamespace(command=command)))


@pytest.mark.parametrize("code", [13, 8000, 999_999], ids=["Unauthorized", "AtlasError", "unknown"])
async def test_a_server_that_may_not_be_asked_is_no_test_server(code: int) -> None:
    assert not await _test_commands_enabled(_answering(code))


async def test_a_server_that_cannot_answer_now_is_asked_again() -> None:
    with pytest.raises(Retryable):
        await _test_commands_enabled(_answering(11602))
