"""The few places where PyMongo Async and Motor differ, behind one face; everything else is equal on both.

Methods that are equal: `find(...).to_list(None)`, `find_one`, `insert_one`, `insert_many`, `update_one`,
`update_many`, `replace_one`, `bulk_write`, `find_one_and_update`, `count_documents`, `delete_one`,
`delete_many`, `create_index`, `Database.command`. Nothing here translates errors: callers stand in
`errors.translated()`.
"""

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, cast

import structlog
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.asynchronous.mongo_client import AsyncMongoClient
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from worker.timing import cancel_within

log = structlog.get_logger(__name__)

# Ending sessions and closing sockets takes milliseconds.
CLOSING_S = 5.0
# A transaction brings its own concerns: those of the collections do not count in it.
_SNAPSHOT = ReadConcern("snapshot")
_MAJORITY = WriteConcern(w="majority", j=True)

Document = dict[str, Any]
Collection = AsyncCollection[Document]
Client = AsyncMongoClient[Document]


async def aggregate(
    collection: Collection, pipeline: Sequence[Mapping[str, Any]], **options: Any
) -> list[Document]:
    """All documents the pipeline gives."""
    cursor = await _awaited(collection.aggregate(pipeline, **options))
    return cast(list[Document], await cursor.to_list(None))


async def aggregate_raw(
    collection: Collection, pipeline: Sequence[Mapping[str, Any]], **options: Any
) -> list[bytes]:
    """All documents the pipeline gives as bytes, answer by answer."""
    cursor = await _awaited(collection.aggregate_raw_batches(pipeline, **options))
    return [batch async for batch in cursor]


async def start_session(client: Client) -> AsyncClientSession:
    """A client session; give it to operations as `session=`, end it with `await session.end_session()`."""
    return cast(AsyncClientSession, await _awaited(client.start_session()))


async def start_transaction(session: AsyncClientSession) -> None:
    """Begin a snapshot transaction on the primary that commits with majority and journal.

    Nothing is sent before its first use.
    """
    await _awaited(
        session.start_transaction(
            read_concern=_SNAPSHOT, write_concern=_MAJORITY, read_preference=ReadPreference.PRIMARY
        )
    )


def pymongo_session(session: AsyncClientSession) -> Any:
    """The PyMongo object behind a session, the one that holds `_server_session`: Motor wraps it."""
    return getattr(session, "delegate", session)


async def list_indexes(collection: Collection) -> list[Document]:
    """The collection's indexes as the server describes them; empty where there is no such collection."""
    cursor = await _awaited(collection.list_indexes())
    return [dict(index) for index in await cursor.to_list(None)]


async def list_collections(database: AsyncDatabase[Document], name: str | None = None) -> list[Document]:
    """The database's collections, or the one of that name, with their options as the server lists them."""
    cursor = await _awaited(database.list_collections(filter={"name": name} if name else None))
    return [dict(collection) for collection in await cursor.to_list(None)]


async def close(client: Client) -> None:
    """Close the client's connections; may be called twice. One that does not close in time is left as it is.

    PyMongo's topology has a lock that is lost when an operation is cancelled at the wrong moment: whoever wants it
    then, `close` included, would wait for ever.
    """
    closing = asyncio.create_task(_awaited(client.close()))
    await asyncio.wait({closing}, timeout=CLOSING_S)
    if closing.done():
        closing.result()
    else:
        log.warning("mongodb_client_left_open", seconds=CLOSING_S)
        await cancel_within(CLOSING_S, closing)


async def _awaited(result: Any) -> Any:
    """The value itself, whether the driver returned it or a promise of it."""
    return await result if inspect.isawaitable(result) else result
