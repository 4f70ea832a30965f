"""How a dispatcher waits where the outbox has nothing for it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.support.clocks import ManualClock
from tests.support.waiting import LIMIT_S
from worker.notify.dispatcher import ChannelDispatcher
from worker.settings import NotifySettings
from worker.storage.database import Document
from worker.telemetry.metrics import Metrics


class Unclaimable:
    """An outbox, a lookup of recipients and a sender: something is always due, and can never be claimed."""

    def __init__(self, claims: int) -> None:
        self.left = claims
        self.stop = asyncio.Event()

    async def claim(self, *_: Any, **__: Any) -> list[Document]:
        self.left -= 1
        if not self.left:
            self.stop.set()
        return []

    async def of(self, rows: Sequence[Document], _channel: str) -> dict[str, Any]:
        assert not rows
        return {}

    async def close(self) -> None: ...


async def test_what_is_due_and_cannot_be_claimed_is_not_asked_for_without_a_pause() -> None:
    clock, others = ManualClock(), Unclaimable(claims=20)
    parts: Any = others
    dispatcher = ChannelDispatcher(
        "log", ["welcome"], parts, parts, parts, NotifySettings(), clock, Metrics(), beat=lambda: None, seed=1
    )
    async with asyncio.timeout(LIMIT_S):
        await dispatcher.run(others.stop)
    assert clock.monotonic() >= 19 * NotifySettings().look_every_s
