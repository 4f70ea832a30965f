"""The user that is logged in may not make collections and indexes: `schema apply` needs another one."""

from collections.abc import Sequence

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.needed_privileges import lacking, sizes, to_apply_the_schema
from worker.operate.doctor.setup import Setup


async def look(setup: Setup) -> Sequence[Seen]:
    needs = to_apply_the_schema(setup.database, setup.settings.mongodb.external_collections)
    return lacking(await setup.mongodb.privileges(), needs, sizes(setup.database))


SCHEMA_PRIVILEGES = Finding(
    name="schema_privileges",
    severity=Severity.ADVICE,
    needs=MONGODB,
    means="The MongoDB user may not make collections, indexes and validators: `schema apply` needs another user.",
    fix="Grant the role dbAdmin on the database, or run `sevenp-worker schema apply` as a user that has it.",
    look=look,
)
