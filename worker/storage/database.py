"""Handles of every collection with the options all correctness rests on, and the checks a server must pass.

Every handle writes with majority and journal, reads what a majority has from the primary, and speaks aware UTC times
and standard UUIDs, whatever the client it came from was made with. `Database.command` applies neither concern:
whoever sends a raw command adds `WRITE_CONCERN.document` itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Annotated, Any, cast, get_origin, get_type_hints

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.asynchronous.mongo_client import AsyncMongoClient
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from projections.catalogue import CATALOGUE
from projections.kinds import Catalogue, DatabaseName
from worker.errors import Misconfigured, Retryable, UnknownAnswer
from worker.storage.driver import Client, Collection, Document
from worker.storage.driver_waits import make_waits_safe
from worker.storage.errors import ATLAS_ERROR, UNAUTHORIZED, translated
from worker.storage.known_lists import KnownLists

__all__ = ["Client", "Collection", "Database", "Document", "make_client", "open_database"]

WRITE_CONCERN = WriteConcern(w="majority", j=True)
READ_CONCERN = ReadConcern("majority")
CODEC_OPTIONS: CodecOptions[Document] = CodecOptions(
    document_class=dict, tz_aware=True, uuid_representation=UuidRepresentation.STANDARD
)

FORMER = frozenset({"watch_positions"})
"""Collections of the version before: used where they are, and made by nobody any more."""

# A primary is elected within 10 s; a shorter selection gives the caller its turn to report and go on polling.
SERVER_SELECTION_MS = 5_000
_CONNECT_MS = 5_000
# No answer for this long means the connection is dead. Far above any batch, above the longest await of a
# change stream (seconds), and below the deadlines that would declare a stage stalled.
SOCKET_MS = 30_000
_WAIT_FOR_POOL_MS = 10_000
# MongoDB 6.0: the first server on which time series and change streams behave as measured.
_OLDEST_WIRE_VERSION = 17
# Unauthorized, and Atlas's one code for all it does not allow: small clusters have no `getParameter`.
_NOT_ALLOWED = frozenset({UNAUTHORIZED, ATLAS_ERROR})
_FROM_URI: Mapping[str, Any] = MappingProxyType({})


# The handle of a collection, with the database it lies in.
_Content = Annotated[Collection, "content"]
_Analytics = Annotated[Collection, "analytics"]
_Config = Annotated[Collection, "config"]


@dataclass(frozen=True, slots=True)
class Database:
    """One handle per collection, named as it; `content`, `analytics` and `config` are the databases.

    Names are interfaces: the platform's other services use the same ones. What further projections of the
    `catalogue` write is reached by `collection`. `unvalidated`: what projections write, and nobody else, may go past
    the server's validators (see `past_validators`). `known_lists` are lists of lessons that were read.
    """

    client: Client
    prefix: str
    catalogue: Catalogue
    content: AsyncDatabase[Document]
    analytics: AsyncDatabase[Document]
    config: AsyncDatabase[Document]
    courses: _Content
    users: _Content
    course_events: _Content
    notifications: _Content
    billing_transactions: _Content
    promotions: _Content
    cache: _Content
    user_interactions: _Analytics
    analytics_queue: _Analytics
    dead_letters: _Analytics
    system_settings: _Config
    leases: _Config
    projection_state: _Config
    watch_positions: _Config
    job_runs: _Config
    audit: _Config
    schedule_positions: _Config
    before_images: _Config
    skipped_versions: _Config
    lesson_lists: _Config
    tombstones: _Config
    workers: _Config
    user_progress: _Content
    user_progress_projections: _Content
    unvalidated: bool = False
    known_lists: KnownLists = field(default_factory=KnownLists, compare=False, repr=False)

    def collection(self, name: str) -> Collection:
        """The handle of a collection by its name; KeyError for a name that neither platform nor catalogue has."""
        handle: Collection = getattr(self, name) if name in _HANDLES else self.home(name).get_collection(name)
        return handle

    def home(self, name: str) -> AsyncDatabase[Document]:
        """The database a collection lives in."""
        return {"content": self.content, "analytics": self.analytics, "config": self.config}[
            collections_of(self.catalogue)[name]
        ]


_HANDLES: Mapping[str, DatabaseName] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(Database, include_extras=True).items()
    if get_origin(hint) is Annotated
}


def collections_of(catalogue: Catalogue) -> dict[str, DatabaseName]:
    """Every collection, with the database it lies in: the platform's, and those that the projections write."""
    return {**_HANDLES, **{target.collection: target.database for target in catalogue.targets}}


COLLECTIONS = collections_of(CATALOGUE)

TIMED = frozenset(
    {
        "course_events",
        "user_interactions",
        "dead_letters",
        "user_progress",
        "user_progress_projections",
        "courses",
        "users",
        "notifications",
        "billing_transactions",
        "analytics_queue",
        "leases",
        "projection_state",
    }
)
"""Those that live work depends on: their failed and slow commands are counted by name, all others share one."""


def make_client(
    uri: str,
    *,
    listeners: Sequence[Any] = (),
    security: Mapping[str, Any] = _FROM_URI,
    application_name: str = "sevenp-worker",
    server_selection_timeout_ms: int = SERVER_SELECTION_MS,
    socket_timeout_ms: int = SOCKET_MS,
) -> Client:
    """A PyMongo Async client in which no operation waits for ever; `Misconfigured` for an unusable URI.

    Nothing connects before the first operation. A server silent for `socket_timeout_ms` counts
    as away (`Retryable`), so a change stream's `max_await_time_ms` must stay well below it. Options
    given here win over the URI's. `listeners` are PyMongo event listeners, `security` its options for user and
    TLS. Close it with `driver.close`.
    """
    make_waits_safe()
    try:
        with translated():
            return AsyncMongoClient(
                uri,
                appname=application_name,
                event_listeners=list(listeners),
                document_class=dict,
                tz_aware=True,
                uuidRepresentation="standard",
                retryWrites=True,
                retryReads=True,
                w="majority",
                journal=True,
                readConcernLevel="majority",
                serverSelectionTimeoutMS=server_selection_timeout_ms,
                connectTimeoutMS=_CONNECT_MS,
                socketTimeoutMS=socket_timeout_ms,
                waitQueueTimeoutMS=_WAIT_FOR_POOL_MS,
                **security,
            )
    except (ValueError, TypeError, OSError) as error:  # OSError: a file of certificates
        raise Misconfigured(f"the MongoDB URI cannot be used: {error}") from error


def open_database(
    client: Client, prefix: str = "education_platform", catalogue: Catalogue = CATALOGUE
) -> Database:
    """Handles on `<prefix>_content`, `<prefix>_analytics` and `<prefix>_config`; nothing is sent yet.

    An injected `motor.motor_asyncio.AsyncIOMotorClient` works as well (a type checker needs a `cast`):
    the calls on which the two drivers differ go through `worker.storage.driver`.
    """
    homes = {
        name: client.get_database(
            f"{prefix}_{name}",
            codec_options=CODEC_OPTIONS,
            write_concern=WRITE_CONCERN,
            read_concern=READ_CONCERN,
            # A secondary's majority can be old: a URI's `readPreference` would have rows looked up there before they
            # arrive, and written twice.
            read_preference=ReadPreference.PRIMARY,
        )
        for name in ("content", "analytics", "config")
    }
    handles = {name: homes[home].get_collection(name) for name, home in _HANDLES.items()}
    return Database(
        client=client,
        prefix=prefix,
        catalogue=catalogue,
        **cast(dict[str, Any], homes),
        **cast(dict[str, Any], handles),
    )


async def assert_safe_server(database: Database, *, test_server: bool = False) -> None:
    """Raise `Misconfigured` unless the server can keep the promises.

    A replica set (or a cluster of them), 6.0 or later, every handle on majority and journal, and no test
    commands unless `test_server` says it is one.
    """
    _assert_concerns(database)
    with translated():
        hello = await database.client.admin.command("hello")
    if not hello.get("setName") and hello.get("msg") != "isdbgrid":
        raise Misconfigured(
            "MongoDB runs as a single server: start it with --replSet and initiate the set; "
            "change streams, majority writes and retryable writes need one"
        )
    if hello["maxWireVersion"] < _OLDEST_WIRE_VERSION:
        raise Misconfigured("MongoDB 6.0 or later is needed")
    if not test_server and await _test_commands_enabled(database):
        raise Misconfigured(
            "MongoDB runs with enableTestCommands=1, which lets anyone inject failures: "
            "restart it without, or say that it is a test server"
        )


def _assert_concerns(database: Database) -> None:
    for handle in (getattr(database, each.name) for each in fields(database) if each.name in _HANDLES):
        written, read = handle.write_concern.document, handle.read_concern.document
        if written.get("w") != "majority" or not written.get("j") or read != READ_CONCERN.document:
            raise Misconfigured(f"collection {handle.name} is not used with majority and journal")
        if handle.read_preference != ReadPreference.PRIMARY:
            raise Misconfigured(f"collection {handle.name} is not read from the primary")


async def _test_commands_enabled(database: Database) -> bool:
    try:
        with translated():
            reply = await database.client.admin.command("getParameter", enableTestCommands=1)
    except UnknownAnswer:
        return False  # a hosted server's own word for the same
    except (Misconfigured, Retryable) as error:
        cause = error.__cause__
        if isinstance(cause, OperationFailure) and cause.code in _NOT_ALLOWED:
            return False  # a user that may not read parameters is no sign of a test server
        raise
    return bool(reply["enableTestCommands"])
