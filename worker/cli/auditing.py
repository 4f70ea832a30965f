"""The audit's row of a command that changes something: who gave it, what was chosen, and to how many it was done."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from worker.cli.listing import plain
from worker.retry.selection import Selection
from worker.settings import Settings
from worker.storage import audit
from worker.storage.database import Database

# What a command line holds is kept; a script may name thousands of ids.
_MOST_IDS = 1_000


@asynccontextmanager
async def audited(
    database: Database,
    settings: Settings,
    command: str,
    arguments: Mapping[str, Any],
    *,
    dry_run: bool = False,
) -> AsyncIterator[dict[str, Any]]:
    """A row for the command that the block is, from before it changes anything; none for a dry run.

    What the block puts into the mapping is kept as the outcome.
    """
    if dry_run:
        yield {}
        return
    async with audit.recorded(database, command=command, who=settings.jobs.who, arguments=arguments) as row:
        yield row.outcome


def chosen_as_json(chosen: Selection, **others: Any) -> dict[str, Any]:
    """The filters and options that were given."""
    given = {name: plain(value) for name, value in {**asdict(chosen), **others}.items() if value}
    if len(chosen.ids) > _MOST_IDS:
        given |= {"ids": list(chosen.ids[:_MOST_IDS]), "ids_in_all": len(chosen.ids)}
    return given
