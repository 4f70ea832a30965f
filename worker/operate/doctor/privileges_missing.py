"""The user that is logged in may not do what a role needs: it ends with the first command that is refused."""

from collections.abc import Sequence

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.needed_privileges import lacking, sizes, to_run
from worker.operate.doctor.setup import Setup


async def look(setup: Setup) -> Sequence[Seen]:
    needs = to_run(setup.database, setup.settings.mongodb.external_collections)
    return lacking(await setup.mongodb.privileges(), needs, sizes(setup.database))


PRIVILEGES_MISSING = Finding(
    name="privileges_missing",
    severity=Severity.ERROR,
    needs=MONGODB,
    means="The MongoDB user may not do what the worker needs: a role ends with the first command that is refused.",
    fix="Grant the role readWrite on the database: db.grantRolesToUser(USER, [{role: 'readWrite', db: DATABASE}]).",
    look=look,
)
