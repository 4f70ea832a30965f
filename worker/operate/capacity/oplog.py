"""How long an entry stays in the oplog, as far as it can be told from what is in there now."""

from dataclasses import dataclass
from typing import Any

from worker.errors import Misconfigured
from worker.operate.asking import NotTold
from worker.storage.database import Client
from worker.storage.errors import translated

_LIMIT_MS = 5_000
_HOUR_S = 3_600.0
# The server truncates in pieces, so that a full oplog is rarely quite full.
_FULL = 0.9


@dataclass(frozen=True, slots=True)
class Oplog:
    """`held_s` lies between its first and its last entry; `least_s` is what the server keeps in any case."""

    held_s: float
    size_bytes: int
    limit_bytes: int
    least_s: float = 0.0

    @property
    def is_full(self) -> bool:
        return self.size_bytes >= _FULL * self.limit_bytes

    @property
    def window_s(self) -> float:
        """For how long an entry stays.

        Of one that is not full yet: as long as it takes to fill it at the rate so far.
        """
        if self.is_full or not self.size_bytes:
            return max(self.held_s, self.least_s)
        return max(self.held_s * self.limit_bytes / self.size_bytes, self.least_s)

    @property
    def hours(self) -> float:
        return self.window_s / _HOUR_S

    @property
    def words(self) -> str:
        """How that is known."""
        if self.is_full:
            return f"the oplog ({self.limit_bytes / 2**20:,.0f} MiB) reaches {self.hours:,.1f} hours back"
        return (
            f"the oplog has held {self.held_s / _HOUR_S:,.1f} hours of writes in "
            f"{self.size_bytes / self.limit_bytes:.1%} of its {self.limit_bytes / 2**20:,.0f} MiB: "
            f"at this rate it will reach {self.hours:,.1f} hours back"
        )


async def read_oplog(client: Client) -> Oplog:
    """Of the primary. Raises NotTold where there is none to be read, `Misconfigured` where this user may not."""
    local = client.get_database("local")
    entries = local.get_collection("oplog.rs")
    with translated():
        first = await entries.find_one({}, {"ts": 1}, sort=[("$natural", 1)], max_time_ms=_LIMIT_MS)
        last = await entries.find_one({}, {"ts": 1}, sort=[("$natural", -1)], max_time_ms=_LIMIT_MS)
    if first is None or last is None:
        raise NotTold("there is no oplog here: a router has none")
    with translated():
        stats = await local.command({"collStats": "oplog.rs", "maxTimeMS": _LIMIT_MS})
    held_s = float(last["ts"].time - first["ts"].time)
    return Oplog(held_s, int(stats["size"]), int(stats["maxSize"]), await _least_s(client))


async def _least_s(client: Client) -> float:
    """What `storage.oplogMinRetentionHours` says; 0 where it is not set, or this user may not ask."""
    question: dict[str, Any] = {"serverStatus": 1, "oplogTruncation": 1, "maxTimeMS": _LIMIT_MS}
    try:
        with translated():
            status = await client.admin.command(question)
    except Misconfigured:
        return 0.0
    return float(status.get("oplogTruncation", {}).get("oplogMinRetentionHours", 0.0)) * _HOUR_S
