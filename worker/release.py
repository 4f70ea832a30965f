"""Which code this is, told without importing any of it: `--version` is asked by scripts, and in a hurry."""

import os
import platform
from importlib.metadata import version as installed

from worker import __version__

# What speaks to servers: a defect may be theirs.
_DRIVERS = ("pymongo", "aiokafka")
# The variable of the setting `revision`, which may not be imported here.
_REVISION = "SEVENP_REVISION"


def revision() -> str:
    """The revision this code was built from, whatever else is set."""
    return os.environ.get(_REVISION, "").strip() or "unknown"


def version_lines() -> list[str]:
    """Name and version of everything that matters to whoever reports a defect."""
    drivers = [f"{name} {installed(name)}" for name in _DRIVERS]
    return [
        f"sevenp-worker {__version__}",
        f"revision {revision()}",
        f"python {platform.python_version()}",
        *drivers,
    ]
