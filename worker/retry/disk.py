"""How full the disk of MongoDB's files is: mongod ends when it cannot write, so somebody has to know before."""

from dataclasses import dataclass

from worker.errors import Fatal, Refused, UnknownAnswer
from worker.storage.database import Database
from worker.storage.errors import translated


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of the server's data, whoever else uses it."""

    used_bytes: int
    size_bytes: int


async def disk_of(database: Database) -> Disk | None:
    """What the server says; None where it does not tell: a router has no files, and a user may not be let ask.

    Raises Retryable while MongoDB is away.
    """
    try:
        with translated():
            told = await database.content.command({"dbStats": 1})
    except (Fatal, Refused, UnknownAnswer):
        return None
    match told:
        case {"fsUsedSize": int() | float() as used, "fsTotalSize": int() | float() as size} if size > 0:
            return Disk(int(used), int(size))
    return None
