"""What `trace` reads among dead letters: those of the event by an index, the newest others without a sort."""

import json
import uuid
from typing import Any

from tests.integration.verify.dead_letters import dead_letter
from worker.queries.trace.dead_letters import MOST_SEARCHED, UNNAMED
from worker.storage.database import Database

INDEX = "idx_dead_letters_event_created"


async def plan(cursor: Any) -> str:
    """The plan that the server has chosen."""
    explained = await cursor.explain()
    return json.dumps(explained["queryPlanner"]["winningPlan"], default=str)


async def test_dead_letters_of_an_event_are_found_by_an_index_and_the_newest_others_without_a_sort(
    database: Database,
) -> None:
    letters = [
        {**dead_letter(number), "event_id": uuid.uuid4() if number % 2 else None} for number in range(40)
    ]
    await database.dead_letters.insert_many(letters)
    named = await plan(database.dead_letters.find({"event_id": letters[1]["event_id"]}))
    assert INDEX in named
    assert "COLLSCAN" not in named
    others = await plan(database.dead_letters.find(UNNAMED).sort("created_at", -1).limit(MOST_SEARCHED))
    assert INDEX in others
    assert '"SORT"' not in others
