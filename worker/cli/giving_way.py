"""A process that runs jobs gives way: what is live on the same machine gets the processor first."""

import os
import time
from contextlib import suppress
from pathlib import Path

_OF_THE_SESSION = Path("/proc/self/autogroup")
_TRIES, _EVERY_S = 10, 0.11


def give_way(nice: int) -> None:
    """Lower the priority of this process by so much, for as long as it lives.

    Linux may share the processor among sessions first, and heed `nice` only within one (sched(7), "The autogroup
    feature"). A process that leads a session, as one of cron does, lowers that of its session, too; one that was
    started on a terminal leaves its shell as it is.
    """
    if not nice:
        return
    os.nice(nice)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # another system than Linux, or nothing that it may write
            _lower_the_session(str(nice))


def _lower_the_session(nice: str) -> None:
    """Linux lets one process of the machine do so every tenth of a second, the others are to come again."""
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            _OF_THE_SESSION.write_text(nice)
            return
        time.sleep(_EVERY_S)
