"""Whether this user may write what projections keep past the server's validators, which takes a third of a write.

The validators stay: they are for whoever else writes there. What the worker writes is made by its own code from
checked events; the same shapes are checked by the tests and by `verify`.
"""

from collections.abc import Set
from dataclasses import replace

import structlog

from worker.errors import WorkerError
from worker.storage.database import Database
from worker.storage.privileges import read_privileges

log = structlog.get_logger(__name__)

BYPASS = "bypassDocumentValidation"
"""The action that lets a user write past a validator."""


async def past_validators(database: Database, external: Set[str] = frozenset()) -> Database:
    """The same handles, `unvalidated` where the server lets this user do so for all that projections write.

    Where it does not, or gives no answer, nothing is different but the speed. The rules of `external` collections are
    somebody else's: while one of them is among those, nothing goes past any.
    """
    foreign = sorted(external & {each.collection for each in database.catalogue.targets})
    if foreign:
        log.info("own_documents_are_validated", reason="rules of others", collections=foreign)
        return database
    try:
        privileges = await read_privileges(database.client)
    except WorkerError as error:
        log.info("own_documents_are_validated", reason=str(error))
        return database
    named = {(database.home(each.collection).name, each.collection) for each in database.catalogue.targets}
    lacking = sorted(f"{home}.{name}" for home, name in named if not privileges.allows(BYPASS, home, name))
    if lacking:
        log.info("own_documents_are_validated", reason=f"no privilege {BYPASS}", collections=lacking)
    return replace(database, unvalidated=not lacking)
