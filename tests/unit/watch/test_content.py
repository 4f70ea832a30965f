"""Projections that share a change stream do not wait for each other's failures."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.counts import dependencies
from worker.errors import Retryable, UnknownAnswer
from worker.storage.database import make_client, open_database
from worker.storage.leases import Token
from worker.watch.content import ContentExecutor, Moved
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


async def test_what_moved_is_taken_in_parts_that_together_are_all_of_it() -> None:
    client = make_client("mongodb://127.0.0.1:1")
    kept: list[Any] = [Kept("a"), Kept("b")]
    executor = ContentExecutor("models", dependencies(open_database(client)), kept)
    keys = {name: frozenset((name, number) for number in range(5)) for name in ("a", "b")}
    rest: Moved | None = Moved(keys)
    parts: list[Moved] = []
    while rest is not None:
        some, rest = executor.split(rest, 3)
        parts.append(some)
    assert [executor.size(each) for each in parts] == [3, 3, 3, 1]
    together = {name: frozenset().union(*(each.keys.get(name, ()) for each in parts)) for name in keys}
    assert together == keys
    assert executor.split(Moved(), 1) == (Moved(), None)
    await client.close()


async def test_batches_of_one_turn_are_told_from_the_token_before_the_first_of_them() -> None:
    client = make_client("mongodb://127.0.0.1:1")
    kept: list[Any] = [Kept("a"), Kept("b")]
    executor = ContentExecutor("models", dependencies(open_database(client)), kept)
    first, second = (executor.keys([{"identity": n}], {"_data": f"{n}"}) for n in (1, 2))
    joined = executor.joined(first, second)
    assert joined.keys == {name: frozenset({(name, 1), (name, 2)}) for name in ("a", "b")}
    assert joined.before == {"_data": "1"}
    assert list(executor.parts(joined)) == [joined]
    await client.close()
