"""The URI limits the time of every operation, which cuts what waits for changes on purpose."""

from collections.abc import Mapping, Sequence
from typing import Any

from worker.operate.doctor.finding import NOWHERE, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.settings import variable


def decide(options: Mapping[str, Any]) -> Sequence[Seen]:
    if "timeoutms" not in options:
        return []
    return [Seen(variable("mongodb_uri"), f"the URI has timeoutMS={options['timeoutms']}")]


async def look(setup: Setup) -> Sequence[Seen]:
    return decide(setup.settings.mongodb.address.options)


URI_TIME_LIMIT = Finding(
    name="uri_time_limit",
    severity=Severity.WARNING,
    needs=NOWHERE,
    means="timeoutMS in the URI limits every operation, change streams included, which wait on purpose.",
    fix="Take timeoutMS out of the URI: every operation has limits of its own.",
    look=look,
)
