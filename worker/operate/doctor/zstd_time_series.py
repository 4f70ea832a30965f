"""The time series is compressed with zstd, which takes half of mongod's CPU once its cache is full."""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.storage.expiry import SERIES


def decide(options: Mapping[str, Any]) -> Sequence[Seen]:
    """The server's default for time series is zstd; what was chosen otherwise stands in the options."""
    chosen = options.get("storageEngine", {}).get("wiredTiger", {}).get("configString", "")
    if "timeseries" not in options or "block_compressor=" in chosen.replace("block_compressor=zstd", ""):
        return []
    return [Seen(SERIES, "its buckets are compressed with zstd, the server's default for time series")]


async def look(setup: Setup) -> Sequence[Seen]:
    found = (await setup.mongodb.collections()).get(SERIES)
    return decide(found.options or {}) if found is not None else []


ZSTD_TIME_SERIES = Finding(
    name="zstd_time_series",
    severity=Severity.ADVICE,
    needs=MONGODB,
    means="The time series is compressed with zstd: each row costs mongod twice as much once its cache is full.",
    fix="It stays so for ever; a new one that `sevenp-worker schema apply` makes is compressed with snappy.",
    look=look,
)
