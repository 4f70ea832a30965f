"""MongoDB, or what its set is allowed to use, is older than the worker needs."""

import re
from collections.abc import Sequence

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup

# The first on which time series and change streams behave as measured (see `storage.database`).
_OLDEST = (6, 0)


def decide(version: str, compatible: str | None) -> Sequence[Seen]:
    """`compatible` is the feature compatibility version, None where the server does not tell it."""
    if _parts(version) < _OLDEST:
        return [Seen("mongodb", f"the server is of version {version}")]
    if compatible is not None and _parts(compatible) < _OLDEST:
        return [
            Seen(
                "mongodb",
                f"the server is of version {version}, but its feature compatibility version is {compatible}",
                'Let it use what it can: db.adminCommand({setFeatureCompatibilityVersion: "6.0"}).',
            )
        ]
    return []


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


async def look(setup: Setup) -> Sequence[Seen]:
    build = await setup.mongodb.build()
    parameters = await setup.mongodb.told_parameters()
    compatible = parameters.get("featureCompatibilityVersion", {}).get("version")
    return decide(build["version"], compatible)


OLD_MONGODB = Finding(
    name="old_mongodb",
    severity=Severity.ERROR,
    needs=MONGODB,
    means="MongoDB, or its feature compatibility version, is older than 6.0: the worker does not start on it.",
    fix="Upgrade every member to MongoDB 6.0 or later.",
    look=look,
)
