"""SIGTERM and SIGINT as one event: the first starts the drain, further ones change nothing."""

import asyncio
import signal
from types import FrameType


class StopSignal:
    """Made before the event loop, so that a signal during start is not missed.

    Plain signal handlers, not the loop's: these outlive the loop, so a second SIGTERM that arrives while the
    process is ending cannot kill it and spoil its exit code.
    """

    def __init__(self) -> None:
        self._received = False
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def install(self) -> None:
        """Take the signals over; only in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def event(self) -> asyncio.Event:
        """The event of the running loop; set already if a signal came before."""
        event = asyncio.Event()
        self._waiter = (asyncio.get_running_loop(), event)
        if self._received:
            event.set()
        return event

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self._received = True
        if self._waiter is not None:
            loop, event = self._waiter
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)
