"""What a process does to the outside, seen without its knowledge: commands, commits, records, requests by HTTP."""

import functools
from collections.abc import Mapping
from typing import Any, Protocol

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pymongo import monitoring

from tests.chaos.fault_injector import FaultInjector

_COMMIT: Mapping[str, Any] = {"commit": "offsets"}
_SEND: Mapping[str, Any] = {"send": "webhook"}
_PRODUCE: Mapping[str, Any] = {"send": "kafka"}


class Watcher(Protocol):
    """Is told of each command before it is sent, and after it was answered if it asked for that."""

    def begins(self, name: str, command: Mapping[str, Any]) -> bool: ...

    def ended(self) -> None: ...

    def handed_out(self, partition: str, next_offset: int) -> None: ...


class PointWatcher:
    """Lets a fault injector act at its point."""

    def __init__(self, injector: FaultInjector) -> None:
        self._injector = injector

    def begins(self, name: str, command: Mapping[str, Any]) -> bool:
        return self._injector.point.covers(name, command) and self._injector.begins()

    def ended(self) -> None:
        self._injector.inject()

    def handed_out(self, partition: str, next_offset: int) -> None:
        self._injector.read[partition] = next_offset


class CommandWatch(monitoring.CommandListener):
    """Watches every command of every client of this process."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._awaited: set[int] = set()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self._watcher.begins(event.command_name, event.command):
            self._awaited.add(event.request_id)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self._answered(event.request_id)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """A refused command counts as answered: its point has passed."""
        self._answered(event.request_id)

    def _answered(self, request_id: int) -> None:
        if request_id in self._awaited:
            self._awaited.discard(request_id)
            self._watcher.ended()


def watch(watcher: Watcher) -> None:
    """Watch this process from now on: MongoDB, Kafka's consumer and producer, HTTP."""
    monitoring.register(CommandWatch(watcher))
    _watch_consumer(watcher)
    _watch_producer(watcher)
    _watch_requests(watcher)


def _watch_consumer(watcher: Watcher) -> None:
    """Note what the consumer hands out, and take its commit as a command."""
    getmany, commit = AIOKafkaConsumer.getmany, AIOKafkaConsumer.commit

    @functools.wraps(getmany)
    async def noted_getmany(self: AIOKafkaConsumer, *arguments: Any, **options: Any) -> Any:
        polled = await getmany(self, *arguments, **options)
        for partition, records in polled.items():
            if records:
                watcher.handed_out(f"{partition.topic}:{partition.partition}", records[-1].offset + 1)
        return polled

    @functools.wraps(commit)
    async def watched_commit(self: AIOKafkaConsumer, *arguments: Any, **options: Any) -> Any:
        awaited = watcher.begins("commit", _COMMIT)
        result = await commit(self, *arguments, **options)
        if awaited:
            watcher.ended()
        return result

    AIOKafkaConsumer.getmany, AIOKafkaConsumer.commit = noted_getmany, watched_commit


def _watch_producer(watcher: Watcher) -> None:
    """A record that the producer has taken may be on its way, or may never leave."""
    send = AIOKafkaProducer.send

    @functools.wraps(send)
    async def watched_send(self: AIOKafkaProducer, *arguments: Any, **options: Any) -> Any:
        awaited = watcher.begins("send", _PRODUCE)
        result = await send(self, *arguments, **options)
        if awaited:
            watcher.ended()
        return result

    AIOKafkaProducer.send = watched_send


def _watch_requests(watcher: Watcher) -> None:
    """A request is answered once its head has come: nobody decides by more."""
    send = httpx.AsyncClient.send

    @functools.wraps(send)
    async def watched_send(self: httpx.AsyncClient, *arguments: Any, **options: Any) -> httpx.Response:
        awaited = watcher.begins("send", _SEND)
        response = await send(self, *arguments, **options)
        if awaited:
            watcher.ended()
        return response

    httpx.AsyncClient.send = watched_send  # type: ignore[method-assign]
