"""Streams whose fold failed: one queue item each says why, and the others go on."""

from collections.abc import Mapping, Sequence

from worker.storage.database import Database
from worker.storage.quarantine import Quarantined, put_items, quarantine, waiting
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


PAUSED = "Paused"
"""`error_class` of the item of a stream whose fold waits because an operator has paused it."""


async def let_streams_wait(
    database: Database, projection: str, heads: Mapping[str, int], *, code_version: str
) -> None:
    """Note that streams have events up to these versions which wait for somebody to resume them. May run twice.

    The role `retry` folds them then, whoever was killed meanwhile: the change stream has passed their events. An item
    that is open because the fold itself fails goes on saying why.
    """
    message = "somebody has paused this stream: it is folded when it is resumed"
    failures = [Failure(stream, version, PAUSED, message) for stream, version in heads.items()]
    updates = [waiting(_quarantined(projection, failure), code_version) for failure in failures]
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
