"""Which stream an item of the queue is about."""

import pytest
from bson import ObjectId

from worker.storage.work_items import Item
from worker.watch.folds.handler import stream_of

COURSE, USER = ObjectId("a" * 24), ObjectId("b" * 24)


@pytest.mark.parametrize("stream", [None, ""])
def test_an_item_without_a_stream_is_about_its_learner_and_course(stream: str | None) -> None:
    item = Item("i", "progress_updated", {"user_id": USER, "course_id": str(COURSE)}, stream, 1, 0)
    assert stream_of(item) == f"course_{COURSE}_user_{USER}"
