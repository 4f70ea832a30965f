"""What the user that is logged in may not do, without which the worker is slower, or shows less."""

from collections.abc import Sequence

from worker.operate.doctor.finding import MONGODB, Finding, Seen, Severity
from worker.operate.doctor.needed_privileges import lacking, sizes, worth_having
from worker.operate.doctor.setup import Setup


async def look(setup: Setup) -> Sequence[Seen]:
    needs = worth_having(setup.database, setup.settings.mongodb.external_collections)
    return lacking(await setup.mongodb.privileges(), needs, sizes(setup.database))


PRIVILEGES_WORTH_HAVING = Finding(
    name="privileges_worth_having",
    severity=Severity.ADVICE,
    needs=MONGODB,
    means="Everything works, but slower, or with less to see: writes past validators, oplog, statistics, profiler.",
    fix="Grant dbAdmin on the three databases, and read on local.",
    look=look,
)
