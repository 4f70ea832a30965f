"""What a process has used so far, as Linux counts it."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_UTIME, _STIME = 11, 12  # of /proc/PID/stat, counted from behind the name; see proc(5)


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of CPU, and the most memory it ever had resident."""

    cpu_s: float
    peak_bytes: int


def usage(pid: int) -> Usage:
    """Of one process with all its threads; zeros for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return Usage(0.0, 0)
    peak = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), "0")
    return Usage((int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS_PER_S, int(peak) * 1024)
