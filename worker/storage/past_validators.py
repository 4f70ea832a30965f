"""Whether this user may write what projections keep past the server's validators, which takes a third of a write.

The validators stay: they are for whoever else writes there. What the worker writes is made by its own code from
checked events; the same shapes are checked by the tests and by `verify`.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from typing import Any

import structlog

from worker.errors import WorkerError
from worker.storage.database import Database
from worker.storage.errors import translated

log = structlog.get_logger(__name__)

_ACTION = "bypassDocumentValidation"


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
        with translated():
            reply = await database.client.admin.command("connectionStatus", showPrivileges=True)
    except WorkerError as error:
        log.info("own_documents_are_validated", reason=str(error))
        return database
    information = reply["authInfo"]
    # Nobody logged in, and yet commands are answered: the server asks nobody for permission.
    open_to_all = not information["authenticatedUsers"]
    named = {(database.home(each.collection).name, each.collection) for each in database.catalogue.targets}
    lacking = [] if open_to_all else _lacking(named, information["authenticatedUserPrivileges"])
    if lacking:
        log.info("own_documents_are_validated", reason=f"no privilege {_ACTION}", collections=lacking)
    return replace(database, unvalidated=not lacking)


def _lacking(named: Iterable[tuple[str, str]], privileges: Iterable[Mapping[str, Any]]) -> list[str]:
    """The collections for which none of the privileges lets a user past the validator."""
    granted = [each["resource"] for each in privileges if _ACTION in each["actions"]]
    return sorted(
        f"{home}.{name}"
        for home, name in named
        if not any(_covers(resource, home, name) for resource in granted)
    )


def _covers(resource: Mapping[str, Any], home: str, name: str) -> bool:
    """An empty name stands for all databases, or for all their collections."""
    if resource.get("anyResource"):
        return True
    return resource.get("db") in ("", home) and resource.get("collection") in ("", name)
