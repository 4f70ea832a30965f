"""How our own modules are imported when somebody waits for a command: quickly, and left without a trace."""

import gc
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# What a shell makes of a process that SIGINT ended; `worker.app.exits` documents it.
_INTERRUPTED = 130


@contextmanager
def importing() -> Iterator[None]:
    """While modules are imported Ctrl-C ends the process at once: no exception may pass through half of them.

    What imports make is no garbage: not looking for any saves a sixth of the start.
    """
    before = signal.getsignal(signal.SIGINT)
    # Not where it is ignored, as in a job in the background, nor where somebody else has taken it.
    takes_over = (
        before is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    )
    collected = gc.isenabled()
    if takes_over:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()
        if takes_over:
            signal.signal(signal.SIGINT, before)
