"""MongoDB runs with test commands, by which anyone who may log in can inject failures."""

from collections.abc import Sequence

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.setup import Setup
from worker.settings import variable


async def look(setup: Setup) -> Sequence[Seen]:
    parameters = await setup.mongodb.told_parameters()
    if setup.settings.mongodb.allow_test_commands or not parameters.get("enableTestCommands"):
        return []
    return [Seen("mongodb", "the server runs with enableTestCommands=1: the worker does not start on it")]


FAILPOINTS = Finding(
    name="failpoints",
    severity=Severity.ERROR,
    needs=MONGODB,
    means="MongoDB runs with test commands, by which anyone who may log in can inject failures.",
    fix=f"Restart it without enableTestCommands; {variable('allow_test_commands')}=true is for tests only.",
    look=look,
)
