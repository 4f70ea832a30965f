"""How a dispatcher waits where the outbox has nothing for it, or little."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.clocks import ManualClock
from tests.support.waiting import LIMIT_S
from worker.notify.delivery import Recipient
from worker.notify.dispatcher import ChannelDispatcher
from worker.settings import NotifySettings
from worker.storage.database import Document
from worker.telemetry.metrics import Metrics


class Parts:
    """An outbox, a lookup of recipients and a sender, for so many claims; each finds so many rows nobody wants."""

    def __init__(self, claims: int, rows: int) -> None:
        self.left = claims
        self.rows = rows
        self.marked = 0
        self.stop = asyncio.Event()

    async def claim(self, *_: Any, **__: Any) -> list[Document]:
        self.left -= 1
        if not self.left:
            self.stop.set()
        return [{"_id": f"{self.left}-{number}", "kind": "welcome"} for number in range(self.rows)]

    async def of(self, rows: Sequence[Document], _channel: str) -> dict[str, Recipient]:
        return {row["_id"]: Recipient(wants=False) for row in rows}

    async def mark(self, *_: Any) -> bool:
        self.marked += 1
        return True

    async def renew(self, _rows: Sequence[Document]) -> None: ...

    async def close(self) -> None: ...


@pytest.mark.parametrize("rows", [0, 1, 3])
async def test_claims_that_find_little_come_a_few_times_a_second(rows: int) -> None:
    clock, others = ManualClock(), Parts(claims=20, rows=rows)
    parts: Any = others
    dispatcher = ChannelDispatcher(
        "log", ["welcome"], parts, parts, parts, NotifySettings(), clock, Metrics(), beat=lambda: None, seed=1
    )
    async with asyncio.timeout(LIMIT_S):
        await dispatcher.run(others.stop)
    assert clock.monotonic() >= 19 * NotifySettings().look_every_s
    assert others.marked == 20 * rows
