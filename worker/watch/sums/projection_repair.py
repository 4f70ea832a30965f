"""What was counted of a learner, where nobody can read it: put back from the record, before it is counted again."""

from collections.abc import Collection
from typing import Any

from projections.counts import count_learner
from projections.counts.learner import RECORD_PATHS
from worker.storage import reading
from worker.storage.database import Database, Document
from worker.storage.errors import translated

_RECORD: Document = dict.fromkeys(RECORD_PATHS, 1)


async def replace_projections(database: Database, identities: Collection[Any]) -> None:
    """Replace these documents of `user_progress_projections` by what their records say, whatever stands there.

    None of them is ever absent meanwhile. Counting cannot read them and leaves them alone. The sums that they are a
    part of are not right before they are taken anew. May run twice.
    """
    found = await reading.find(database.user_progress, {"_id": {"$in": list(identities)}}, _RECORD)
    steps = found.through(lambda record: count_learner(record, None)).values
    for step in steps:
        if step is not None:
            with translated():
                await database.user_progress_projections.replace_one(
                    {"_id": step.projection["_id"]}, step.projection
                )
