"""`python -m worker` and the script `sevenp-worker`: quick to start, and quick to leave."""

import sys

from worker.importing import importing
from worker.release import version_lines


def main() -> None:
    """Import the command line and run a command; Ctrl-C meanwhile ends the process without a trace.

    Which version this is, is told without any of it.
    """
    if sys.argv[1:] == ["--version"]:
        print("\n".join(version_lines()))  # noqa: T201 - the console of commands would be an import, too
        return
    with importing():
        from worker.cli import main as run_command  # noqa: PLC0415 - the point is to be prepared before it
    run_command()


if __name__ == "__main__":
    main()
