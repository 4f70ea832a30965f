"""`python -m worker` and the script `sevenp-worker`: quick to start, and quick to leave."""

import gc
import os
import signal
import sys

from worker.release import version_lines

# What a shell makes of a process that SIGINT ended; `worker.app.exits` documents it.
_INTERRUPTED = 130


def main() -> None:
    """Import the commands and run one; Ctrl-C meanwhile ends the process without a trace.

    Which version this is, is told without any of them: their imports take seconds on a busy machine.
    """
    if sys.argv[1:] == ["--version"]:
        print("\n".join(version_lines()))  # noqa: T201 - the console of commands would be an import, too
        return
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not where it is ignored: a job in the background
        # No exception may pass through modules that are half imported.
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    # What imports make is no garbage: not looking for any saves a sixth of the start.
    gc.disable()
    from worker.cli import main as run_command  # noqa: PLC0415 - the point is to be prepared before it

    gc.enable()
    signal.signal(signal.SIGINT, before)
    run_command()


if __name__ == "__main__":
    main()
