"""How far streams go: their highest stored version."""

from collections.abc import Sequence

from worker.storage.driver import Document

# In this order and grouping the server jumps from stream to stream in the unique index (DISTINCT_SCAN).
HIGHEST_VERSIONS: Sequence[Document] = (
    {"$sort": {"stream_id": -1, "version": -1}},
    {"$group": {"_id": "$stream_id", "version": {"$first": "$version"}}},
)
"""The stages that make `{_id: stream, version}` of events, by stream downwards."""


def highest_of(streams: Sequence[str]) -> list[Document]:
    """The pipeline over `course_events` for these streams; one without events has no row."""
    return [{"$match": {"stream_id": {"$in": list(streams)}}}, *HIGHEST_VERSIONS]
