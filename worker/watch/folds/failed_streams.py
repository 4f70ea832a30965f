"""Streams whose fold failed: one queue item each says why, and the others go on."""

from collections.abc import Sequence

from worker.storage.database import Database
from worker.storage.quarantine import Quarantined, put_items, quarantine
from worker.storage.work_items import fold_item_id, fold_type
from worker.watch.folds.fold import Failure


async def quarantine_streams(
    database: Database, projection: str, failures: Sequence[Failure], *, code_version: str
) -> None:
    """Note each failure of this projection in its stream's item (see `quarantine`). May run twice: `_id` decides."""
    if not failures:
        return
    updates = [quarantine(_quarantined(projection, failure), code_version) for failure in failures]
    await put_items(database.analytics_queue, updates)


def _quarantined(projection: str, failure: Failure) -> Quarantined:
    return Quarantined(
        item_id=fold_item_id(failure.stream, projection),
        event_type=fold_type(projection),
        error_class=failure.error_class,
        message=failure.message,
        stream_id=failure.stream,
        version=failure.version,
        data=failure.data,
    )
