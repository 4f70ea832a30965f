"""Items of the queue that the server refuses."""

from typing import Any

import pytest
from pymongo.errors import AutoReconnect, BulkWriteError

from worker.errors import Retryable
from worker.storage.quarantine import Quarantined, put_items, quarantine

ITEM = quarantine(Quarantined("progress:s", "progress_fold", "KeyError", "in apply"), "1")


class Queue:
    """A collection that answers every bulk with this error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def bulk_write(self, *_: Any, **__: Any) -> None:
        raise self._error


def refused(code: int) -> BulkWriteError:
    return BulkWriteError(
        {"writeErrors": [{"index": 0, "code": code, "errmsg": ""}], "writeConcernErrors": []}
    )


async def test_an_item_that_somebody_made_odd_costs_itself_only() -> None:
    queue: Any = Queue(refused(121))
    await put_items(queue, [ITEM])


@pytest.mark.parametrize("error", [refused(112), AutoReconnect("away")])
async def test_a_server_that_is_busy_or_away_is_waited_for(error: Exception) -> None:
    queue: Any = Queue(error)
    with pytest.raises(Retryable):
        await put_items(queue, [ITEM])
