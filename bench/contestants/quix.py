"""Quix Streams with two of its MongoDB sinks. Runs in the peers' environment.

Its sink updates or inserts one by one in a bulk; a time series refuses that, so its rows go to a plain collection.
"""

from typing import Any
from urllib.parse import urlsplit

from quixstreams import Application
from quixstreams.sinks.base.item import SinkItem
from quixstreams.sinks.community.mongodb import MongoDBSink

from bench.contestants.shapes import documents
from bench.contestants.task import Task, given, say_fetching

COMMIT_EVERY = 2_000  # a sink writes when the application commits: 5 s by default, one batch a partition


class Pipeline:
    """Fields to documents; the first record starts the clock."""

    def __init__(self) -> None:
        self._begun = False

    def made(self, fields: dict[str, Any], key: Any, timestamp: int, headers: Any) -> dict[str, Any]:
        """The event and its row."""
        if not self._begun:
            self._begun = True
            say_fetching()
        event, row = documents(fields, 0)
        event["version"] = event["_id"].int >> 65  # unique; the offset is not shown here
        return {"event": event, "row": row}


def _matching(item: SinkItem) -> dict[str, Any]:
    return {"_id": item.value["_id"]}


def application(task: Task) -> Application:
    """One application; both collections from one reading."""
    server = urlsplit(task.mongodb_uri)

    def sink(database: str, collection: str) -> MongoDBSink:
        return MongoDBSink(
            host=server.hostname or "",
            port=server.port or 0,
            db=database,
            collection=collection,
            document_matcher=_matching,
            update_method="ReplaceOne",
            uuidRepresentation="standard",
            replicaSet=server.query.partition("replicaSet=")[2],
        )

    app = Application(
        broker_address=task.bootstrap_servers,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        commit_every=COMMIT_EVERY,
        auto_create_topics=False,
        loglevel="WARNING",
    )
    made = app.dataframe(app.topic(task.topic, value_deserializer="json")).apply(
        Pipeline().made, metadata=True
    )
    made.apply(lambda both: both["event"]).sink(sink(task.content, "course_events"))
    made.apply(lambda both: both["row"]).sink(sink(task.analytics, "user_interactions"))
    return app


if __name__ == "__main__":
    application(given()).run()
