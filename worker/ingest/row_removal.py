"""Deleting single rows of the time series, which only servers from MongoDB 7.0 on can.

Before, the server deletes by the metadata alone: all that a learner did in a lesson in one session would go.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from worker.storage.database import Database
from worker.storage.errors import translated

_FIRST_VERSION = (7, 0)


async def deletes_rows(database: Database) -> bool:
    """Whether the server can, by the version that it says it has. Raises Retryable while it is away."""
    with translated():
        build = await database.client.admin.command("buildInfo")
    return can_delete_rows(build["versionArray"])


def can_delete_rows(version: Sequence[int]) -> bool:
    """Whether a server of this version can."""
    return tuple(version[:2]) >= _FIRST_VERSION


async def delete_rows(database: Database, rows: Iterable[Mapping[str, Any]]) -> None:
    """Delete every row that has the `_id`, learner and course of one of these. May run twice.

    By the index of learners: a query on `_id` alone would read every bucket.
    """
    by_owner: dict[tuple[Any, Any], list[Any]] = defaultdict(list)
    for row in rows:
        by_owner[row["metadata"]["user_id"], row["metadata"]["course_id"]].append(row["_id"])
    for (user, course), ids in by_owner.items():
        query = {"metadata.user_id": user, "metadata.course_id": course, "_id": {"$in": ids}}
        with translated():
            await database.user_interactions.delete_many(query)
