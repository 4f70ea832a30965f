"""Where entries stand: in a file, or in the platform's `system_settings`. Both are read again and again."""

import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

from worker.errors import Misconfigured
from worker.settings import ScheduleSettings
from worker.storage import reading
from worker.storage.database import Database

KEY_PREFIX = "worker_schedule."
"""What the keys of our documents in `system_settings` begin with; the name of the entry follows."""

Written: TypeAlias = list[tuple[str, object]]
Source: TypeAlias = Callable[[], Awaitable[Written]]
"""The entries as somebody wrote them, by name; one name may stand there twice."""


def source_of(settings: ScheduleSettings, database: Database) -> Source:
    """The file that the settings name, or else the documents of their environment."""

    async def source() -> Written:
        if settings.file is not None:
            return entries_in(settings.file)
        return await stored_entries(database, settings.entries_of)

    return source


def entries_in(path: Path) -> Written:
    """The tables of a TOML file. Raises Misconfigured for a file that cannot be read as a whole."""
    try:
        return list(tomllib.loads(path.read_text(encoding="utf-8")).items())
    except OSError as error:
        reason = error.strerror or str(error)
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except tomllib.TOMLDecodeError as error:
        reason = f"it is not TOML: {error}"
    raise Misconfigured(f"the schedule {path} cannot be read: {reason}")


async def stored_entries(database: Database, environment: str) -> Written:
    """The documents whose key begins with ours. What of them cannot be read is an entry that cannot run.

    Raises Retryable while MongoDB is away.
    """
    ours = {"key": {"$gte": KEY_PREFIX, "$lt": KEY_PREFIX[:-1] + "/"}, "environment": environment}
    found = await reading.find(database.system_settings, ours)
    written: Written = [_named(document) for document in found.documents]
    return [*written, *((f"document {each.name}", None) for each in found.unreadable)]


def _named(document: dict[str, Any]) -> tuple[str, object]:
    return str(document["key"]).removeprefix(KEY_PREFIX), document.get("value")
