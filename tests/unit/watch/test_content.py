"""Projections that share a change stream do not wait for each other's failures."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.counts import dependencies
from worker.errors import Retryable, UnknownAnswer
from worker.storage.database import make_client, open_database
from worker.storage.leases import Token
from worker.watch.content import ContentExecutor
from worker.watch.sums.attempt import Keys


class Kept:
    """A projection that notes what it is given, and fails if it shall."""

    version = 1

    def __init__(self, name: str, error: Retryable | None = None) -> None:
        self.name = name
        self.brought: list[Keys] = []
        self._error = error

    def keys(self, changes: list[Mapping[str, Any]]) -> Keys:
        return frozenset((self.name, change["identity"]) for change in changes)

    async def bring(self, keys: Keys, before: Token | None) -> None:
        if self._error is not None:
            raise self._error
        self.brought.append(keys)


async def test_one_that_fails_holds_back_the_token_and_no_other() -> None:
    client = make_client("mongodb://127.0.0.1:1")
    failing, other = Kept("failing", UnknownAnswer("no idea")), Kept("other")
    kept: list[Any] = [failing, other]
    executor = ContentExecutor("models", dependencies(open_database(client)), kept)
    moved = executor.keys([{"identity": 1}], {"_data": "82"})
    with pytest.raises(UnknownAnswer, match="no idea"):
        await executor.apply(moved, live=True)
    assert other.brought == [frozenset({("other", 1)})]
    await client.close()
