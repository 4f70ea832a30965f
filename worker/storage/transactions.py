"""Transactions on one session: all of a unit's writes are seen at once, or none of them ever.

Within a transaction every read comes from one snapshot, and a write to a document that somebody else changed
since then fails: whatever was decided from what was read still holds at the commit.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar
from uuid import UUID

from bson.binary import Binary
from pymongo.asynchronous.client_session import AsyncClientSession

from worker.errors import Fatal, Retryable, UnknownAnswer, WorkerError
from worker.storage import driver
from worker.storage.database import Client
from worker.storage.errors import translated
from worker.storage.retrying import retrying
from worker.timing import Clock, Deadline

T = TypeVar("T")

Session = AsyncClientSession


class Transactions:
    """One session for one transaction after another; not safe to use from two tasks at once. Close it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._session: Session | None = None

    async def session_id(self) -> UUID:
        """What the server calls this session; `end_elsewhere` takes it."""
        session = await self._open()
        identity: Binary = session.session_id["id"]
        return identity.as_uuid()

    async def run(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Do `work` in a transaction and commit it with a majority.

        `Retryable` means that nothing, or, when the answer to the commit was lost, perhaps everything was
        written: the whole may be run again where running twice is harmless. Every other error: nothing was.
        """
        session = await self._open()
        try:
            with translated():
                await driver.start_transaction(session)
            result = await work(session)
            with translated():
                await session.commit_transaction()
        except BaseException:
            await self._abandon(session)
            raise
        return result

    async def give_up(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Do `work` in a transaction that is aborted at its end, to see what it would do: nothing of it stays.

        Until then it holds what it has written, as one that commits does. Raises as `run` does.
        """
        session = await self._open()
        try:
            with translated():
                await driver.start_transaction(session)
            return await work(session)
        finally:
            await self._abandon(session)

    async def close(self) -> None:
        """Give the session back, ending a transaction that was cut off. May be called twice."""
        session, self._session = self._session, None
        if session is not None:
            with suppress(WorkerError), translated():
                await session.end_session()

    async def end_elsewhere(self, session_id: UUID) -> str | None:
        """End another process's session and its open transaction, which would lock its documents for a minute.

        Harmless for a session that has ended, or never was. Returns why the server refuses, as hosted ones may; then
        it ends the transaction by itself. Raises Retryable while it is away.
        """
        try:
            with translated():
                await self._client.admin.command("killSessions", [{"id": Binary.from_uuid(session_id)}])
        except (Fatal, UnknownAnswer) as error:
            return str(error)
        return None

    async def _open(self) -> Session:
        if self._session is None:
            with translated():
                self._session = await driver.start_session(self._client)
        return self._session

    async def _abandon(self, session: Session) -> None:
        """Abort what is open; where the server does not answer, it ends the transaction by itself."""
        with suppress(WorkerError), translated():
            if session.in_transaction:
                await session.abort_transaction()


async def transact(
    client: Client, work: Callable[[Session], Awaitable[T]], clock: Clock, within_s: float
) -> T:
    """Do `work` in a transaction of its own, again and again while others are in its way.

    It may run twice, where the answer to a commit was lost. Raises Retryable when it is not done in so many seconds.
    """
    transactions = Transactions(client)
    reasons: list[Retryable] = []
    trying = retrying(lambda: transactions.run(work), clock=clock, on_retry=reasons.append)
    try:
        return await Deadline.after(clock, within_s).bound(trying)
    except TimeoutError:
        raise reasons[-1] if reasons else Retryable(f"no transaction was done in {within_s:g} s") from None
    finally:
        await transactions.close()
