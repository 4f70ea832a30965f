"""What both hand-written loops begin with: two collections and a consumer of their group."""

from aiokafka import AIOKafkaConsumer
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from bench.contestants.shapes import Document
from bench.contestants.task import Task

Collection = AsyncCollection[Document]


async def opened(task: Task) -> tuple[Collection, Collection, AIOKafkaConsumer]:
    """Event store, time series, and the started consumer; for ever, so nothing is closed."""
    client: AsyncMongoClient[Document] = AsyncMongoClient(task.mongodb_uri, uuidRepresentation="standard")
    consumer = AIOKafkaConsumer(
        task.topic,
        bootstrap_servers=task.bootstrap_servers,
        group_id=task.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    return client[task.content]["course_events"], client[task.analytics]["user_interactions"], consumer
