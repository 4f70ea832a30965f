"""An item that somebody has spoilt is written over: what it is about must be set aside all the same."""

from typing import Any

import pytest
from bson import Int64, ObjectId
from bson.datetime_ms import DatetimeMS

from tests.support.matrices import one_of_each
from worker.storage import reading
from worker.storage.database import Database
from worker.storage.quarantine import Quarantined, quarantine
from worker.storage.work_items import COUNTS_FOLD

WHAT = Quarantined(f"counts:course:{ObjectId()}", COUNTS_FOLD, "Unreadable", "it cannot be decoded")


@pytest.mark.parametrize(
    "spoilt",
    one_of_each([
        {"retry_count": "often"}, {"retry_count": -1}, {"retry_count": 1.5}, {"retry_count": None},
        {"created_at": "yesterday"}, {"due_at": 7}, {"lease_owner": 3}, {"lease_until": "soon"},
        {"processed_at": []}, {"last_retry": {}}, {"tried_by": [1, {"a": 1}, "0.1.0"]}, {"tried_by": "all"},
        {"occurrences": "many"}, {"status": "unheard"}, {"event_type": 5},
    ]),
)  # fmt: skip
async def test_an_open_item_of_ours_that_somebody_spoilt_is_made_again(
    database: Database, spoilt: dict[str, Any]
) -> None:
    await database.analytics_queue.bulk_write([quarantine(WHAT, "1")])
    await database.analytics_queue.update_one(
        {"_id": WHAT.item_id}, {"$set": spoilt}, bypass_document_validation=True
    )
    await database.analytics_queue.bulk_write([quarantine(WHAT, "1")])  # the validator takes it
    item = await reading.find_one(database.analytics_queue, {"_id": WHAT.item_id})
    assert isinstance(item, dict)
    assert (item["status"], item["event_type"]) == ("pending", COUNTS_FOLD)
    assert isinstance(item["retry_count"], int)
    assert all(isinstance(version, str) for version in item["tried_by"])


async def test_an_open_item_keeps_its_attempts_and_its_due_time(database: Database) -> None:
    await database.analytics_queue.bulk_write([quarantine(WHAT, "1")])
    due = DatetimeMS(4_000_000_000_000)
    await database.analytics_queue.update_one(
        {"_id": WHAT.item_id}, {"$set": {"retry_count": Int64(2), "due_at": due}}
    )
    await database.analytics_queue.bulk_write([quarantine(WHAT, "1")])
    item = await database.analytics_queue.find_one({"_id": WHAT.item_id})
    assert item is not None
    assert (item["retry_count"], int(DatetimeMS(item["due_at"])), item["occurrences"]) == (2, int(due), 2)
