"""The URI has options that the worker sets by itself: whoever wrote them believes that they hold."""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.operate.doctor.finding import NOWHERE, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.settings import variable

# Which `make_client` and the handles of `open_database` set, whatever the URI says.
_OURS = (
    "connecttimeoutms",
    "journal",
    "readconcernlevel",
    "readpreference",
    "retryreads",
    "retrywrites",
    "serverselectiontimeoutms",
    "sockettimeoutms",
    "uuidrepresentation",
    "w",
    "waitqueuetimeoutms",
)


def decide(options: Mapping[str, Any]) -> Sequence[Seen]:
    named = [name for name in _OURS if name in options]
    if not named:
        return []
    return [Seen(variable("mongodb_uri"), f"the URI has {', '.join(named)}, which the worker sets by itself")]


async def look(setup: Setup) -> Sequence[Seen]:
    return decide(setup.settings.mongodb.address.options)


URI_OPTIONS_IGNORED = Finding(
    name="uri_options_ignored",
    severity=Severity.ADVICE,
    needs=NOWHERE,
    means="The URI has options that do not hold: all correctness rests on the worker's own.",
    fix="Take them out of the URI, so that nobody relies on them.",
    look=look,
)
