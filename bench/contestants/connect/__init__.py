"""Kafka Connect with MongoDB's sink connector, as plain Java: its configuration and its command."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.contestants.task import Task
from worker.devstack.servers.apache.artifacts import fetch_jars, java_binary
from worker.devstack.servers.process import free_port

POM = Path(__file__).with_name("pom.xml")
TASKS = "2"
# What the log says when a task's consumer has its partitions: the next thing it does is to fetch.
ASSIGNED = "Adding newly assigned partitions"

_STRATEGY = "com.mongodb.kafka.connect.sink"
_TRANSFORM = "org.apache.kafka.connect.transforms"

# The record as it is, with its key: (partition, offset) keeps the unique index of streams and versions content.
_EVENTS: Mapping[str, str] = {
    "collection": "course_events",
    "document.id.strategy": f"{_STRATEGY}.processor.id.strategy.ProvidedInValueStrategy",
    "transforms": "key,place",
    "transforms.key.type": f"{_TRANSFORM}.ReplaceField$Value",
    "transforms.key.renames": "event_id:_id",
    "transforms.place.type": f"{_TRANSFORM}.InsertField$Value",
    "transforms.place.partition.field": "stream_id",
    "transforms.place.offset.field": "version",
}
# The spec's metadata, which is what costs; Connect can nest a whole record only, so value and details are left out
# and the time is the record's.
_ROWS: Mapping[str, str] = {
    "collection": "user_interactions",
    "timeseries.timefield": "timestamp",
    "timeseries.metafield": "metadata",
    "timeseries.timefield.auto.convert": "true",
    "transforms": "fields,nest,time",
    "transforms.fields.type": f"{_TRANSFORM}.ReplaceField$Value",
    "transforms.fields.exclude": "event_id,occurred_at,value,details,producer,schema_version",
    "transforms.nest.type": f"{_TRANSFORM}.HoistField$Value",
    "transforms.nest.field": "metadata",
    "transforms.time.type": f"{_TRANSFORM}.InsertField$Value",
    "transforms.time.timestamp.field": "timestamp",
}


async def connect_command(folder: Path, task: Task, *, both: bool, poll: int) -> Sequence[str]:
    """The command of one standalone worker with a sink for both collections or for the time series only."""
    jars = await fetch_jars(POM, "kafka-connect")
    files = [_write(folder / "worker.properties", _worker(task, folder, poll))]
    if both:
        files.append(_write(folder / "events.properties", _sink(task, "events", task.content, _EVENTS)))
    files.append(_write(folder / "rows.properties", _sink(task, "rows", task.analytics, _ROWS)))
    options = ["-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=info"]
    main = "org.apache.kafka.connect.cli.ConnectStandalone"
    return [java_binary(), *options, "-cp", str(jars / "*"), main, *map(str, files)]


def _write(path: Path, properties: Mapping[str, str]) -> Path:
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()), encoding="utf-8")
    return path


def _worker(task: Task, folder: Path, poll: int) -> Mapping[str, str]:
    return {
        "bootstrap.servers": task.bootstrap_servers,
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "false",
        "offset.storage.file.filename": str(folder / "offsets"),
        "offset.flush.interval.ms": "5000",
        "listeners": f"http://127.0.0.1:{free_port()}",
        "consumer.auto.offset.reset": "earliest",
        "consumer.max.poll.records": str(poll),
        "consumer.max.partition.fetch.bytes": "4194304",
    }


def _sink(task: Task, name: str, database: str, own: Mapping[str, str]) -> Mapping[str, str]:
    return {
        "name": f"{task.group}-{name}",
        "connector.class": "com.mongodb.kafka.connect.MongoSinkConnector",
        "tasks.max": TASKS,
        "topics": task.topic,
        "connection.uri": task.mongodb_uri,
        "database": database,
        "bulk.write.ordered": "false",
        "writemodel.strategy": f"{_STRATEGY}.writemodel.strategy.InsertOneDefaultStrategy",
        **own,
    }
