"""A client that cannot be closed any more holds nobody up."""

import asyncio
from typing import cast

import pytest
from structlog.testing import capture_logs

from worker.storage import driver


class Stalled:
    """Waits for a lock that nobody gives back, as PyMongo's client can."""

    def __init__(self) -> None:
        self.given_up = False

    async def close(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up = True


class Broken:
    async def close(self) -> None:
        raise RuntimeError("no way to close this")


async def test_a_client_that_does_not_close_in_time_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "CLOSING_S", 0.05)
    client = Stalled()
    with capture_logs() as logs:
        await driver.close(cast(driver.Client, client))
    assert client.given_up
    assert [entry["event"] for entry in logs] == ["mongodb_client_left_open"]


async def test_what_closing_raises_is_raised() -> None:
    with pytest.raises(RuntimeError, match="no way"):
        await driver.close(cast(driver.Client, Broken()))
