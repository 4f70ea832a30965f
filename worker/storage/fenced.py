"""Commands on a session of our own choosing: how a newer owner shuts out an older one at the server.

MongoDB remembers retryable writes by (session id, transaction number, statement id) for about 30 minutes,
through crashes and step-downs. A command re-sent with the same three changes nothing; an older number on a
session that has seen a newer one is refused with code 225. PyMongo has no public way to choose a session id,
so this file, and no other, swaps the driver's private server-session object.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from bson import Binary, Int64
from bson.raw_bson import RawBSONDocument
from pymongo.errors import NetworkTimeout, OperationFailure

from worker.errors import Refused, Retryable
from worker.storage import driver
from worker.storage.database import WRITE_CONCERN, Collection, Document
from worker.storage.errors import failed_statements, translated

# Higher than any number an owner reaches by counting batches: after it every number of the owner is "older".
BURN_NUMBER = 2**62
_INCOMPLETE_HISTORY = 217


class _OwnServerSession:
    """Stands in for the driver's server session: fixed id, no transaction numbers of its own."""

    def __init__(self, session: UUID) -> None:
        self.session_id = {"id": Binary(session.bytes, 4)}
        self.last_use = time.monotonic()
        self.generation = -1  # no pool has this generation, so no pool takes the object back
        self.dirty = True

    def mark_dirty(self) -> None:
        """Called by the driver when the connection is lost."""
        self.dirty = True


async def run_on_session(
    collection: Collection, session: UUID, number: int, command: Document, *, deadline_s: float
) -> Document:
    """Run one write command under (`session`, `number`) and return the server's reply.

    Raises Fenced when the session has seen a newer number, Retryable when there was no answer: sending the
    same command again is then safe. The foreign id never reaches the driver's pool.
    """
    handle = await driver.start_session(collection.database.client)
    inner = driver.pymongo_session(handle)
    inner._server_session = _OwnServerSession(session)  # noqa: SLF001  # the one place, see the module's docstring
    try:
        with translated():
            async with asyncio.timeout(deadline_s):
                reply: Document = await collection.database.command(
                    {**command, "txnNumber": Int64(number), "writeConcern": WRITE_CONCERN.document},
                    session=handle,
                )
    except TimeoutError:
        # As the driver says it: by the cause of an error others know which server it is about.
        silent = NetworkTimeout(f"no answer to {next(iter(command))} within {deadline_s:.0f} s")
        raise Retryable(str(silent)) from silent
    finally:
        # The driver's own object was an empty placeholder without an id; dropping it ends the session without
        # returning anything, so that even a command cancelled before it was sent can no longer go out unfenced.
        inner._server_session = None  # noqa: SLF001
    if "writeConcernError" in reply:
        raise Retryable(f"not yet on a majority: code {reply['writeConcernError'].get('code')}")
    return reply


async def burn_session(leases: Collection, lease_id: str, session: UUID, *, deadline_s: float) -> None:
    """Make every later command of `session`'s owner fail with code 225; waits for one that is under way.

    The update must change its document, or the server would not remember the number through a crash. Burning twice
    changes nothing twice. Raises Retryable when there is no answer or no such lease, Refused when the server rejects
    the update.
    """
    update = {"update": leases.name, "updates": [{"q": {"_id": lease_id}, "u": {"$inc": {"burns": 1}}}]}
    try:
        reply = await run_on_session(leases, session, BURN_NUMBER, update, deadline_s=deadline_s)
    except Retryable as error:
        cause = error.__cause__
        if isinstance(cause, OperationFailure) and cause.code == _INCOMPLETE_HISTORY:
            return  # the oplog holds the answer to this very number no more: it was burned, and still is
        raise
    _raise_on_write_errors(reply, leases.name, 1)
    if reply["n"] != 1:
        raise Retryable(f"there is no lease {lease_id} any more: its session is not burned")


async def insert_once(
    collection: Collection, session: UUID, number: int, rows: Sequence[RawBSONDocument], *, deadline_s: float
) -> None:
    """Insert `rows` (at most 16 MB together) as one unordered command under (`session`, `number`).

    Sent again unchanged, it inserts only what is missing; but the server answers for what it has already without
    waiting for a majority (tried), so that answer alone does not make the rows durable. Raises Fenced for an older
    owner, Retryable when the answer is missing or some rows can be healed by sending again, Refused when the server
    rejects a row.
    """
    numbers = list(range(len(rows)))
    insert = {"insert": collection.name, "documents": list(rows), "ordered": False, "stmtIds": numbers}
    reply = await run_on_session(collection, session, number, insert, deadline_s=deadline_s)
    _raise_on_write_errors(reply, collection.name, len(rows))


def _raise_on_write_errors(reply: Document, name: str, statements: int) -> None:
    """A command whose statements failed answers "ok" nevertheless."""
    failures: list[dict[str, Any]] = reply.get("writeErrors", [])
    if not failures:
        return
    stated = failed_statements([(failure["code"], str(failure.get("errmsg", ""))) for failure in failures])
    if stated is not None:
        raise type(stated)(f"{name} could not take {len(failures)} of {statements} statements: {stated}")
    codes = sorted({failure["code"] for failure in failures})
    raise Refused(f"{name} refused {len(failures)} of {statements} statements, codes {codes}")
