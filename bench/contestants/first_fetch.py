"""Has aiokafka say when its first fetch goes out: for every contestant on it, ours included, at the same point."""

from typing import Any

from aiokafka.client import AIOKafkaClient

from bench.contestants.task import say_fetching


def say_first_fetch() -> None:
    """Call it before a consumer starts; it is over with the first fetch."""
    send = AIOKafkaClient.send

    async def watched(self: Any, node_id: int, request: Any, **options: Any) -> Any:
        if type(request).__name__.startswith("FetchRequest"):
            AIOKafkaClient.send = send
            say_fetching()
        return await send(self, node_id, request, **options)

    AIOKafkaClient.send = watched
