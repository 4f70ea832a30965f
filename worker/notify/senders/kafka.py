"""A Kafka topic: one record per notification, key the learner's id, header `idempotency-key`.

An idempotent producer repeats a record until the broker answers, and the broker knows the repeats. So a send is
left to the producer for as long as that takes: giving up and sending anew would make the topic hold it twice.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from worker.kafka.producer import ABOUT_THE_RECORD
from worker.kafka.security import kafka_options
from worker.notify.delivery import Accepted, Delivery, Message, Recipient, Refused, Unavailable
from worker.settings import KafkaSettings, NotifySettings
from worker.telemetry.waits import Wait
from worker.timing import Clock

log = structlog.get_logger(__name__)

# Flushing at the end, when a healthy broker has answered everything already.
_CLOSING_S = 3.0


@dataclass(slots=True, eq=False)
class _Line:
    """One producer and the sends under way on it. A retired one is closed when the last of them ends."""

    producer: AIOKafkaProducer
    sends: int = 0
    retired: bool = False


class KafkaSender:
    """Connects with the first message, and again after a failure.

    Where a broker has no idempotent producers, a record whose answer is lost may stand in the topic twice.
    """

    def __init__(self, settings: NotifySettings, kafka: KafkaSettings, clock: Clock) -> None:
        self._settings = settings
        self._wait = Wait(log, clock, "notification_waits_for_kafka", topic=settings.kafka_topic)
        self._bootstrap_servers, self._security = kafka.bootstrap_servers, kafka_options(kafka)
        self._line: _Line | None = None
        self._connecting = asyncio.Lock()

    async def send(self, message: Message, recipient: Recipient) -> Delivery:
        """Accepted once all in-sync replicas have the record."""
        try:
            line = await self._connected()
        except (KafkaConnectionError, OSError) as error:
            return Unavailable(f"no broker answers ({type(error).__name__})")
        except KafkaError as error:
            return Unavailable(f"the broker refuses this producer ({type(error).__name__}){self._hint}")
        line.sends += 1
        try:
            await self._produce(line.producer, message)
        except ABOUT_THE_RECORD as error:
            return Refused(type(error).__name__)
        except (KafkaError, OSError) as error:
            self._retire(line)
            return Unavailable(f"no broker took it ({type(error).__name__})")
        finally:
            line.sends -= 1
            if line.retired and not line.sends:
                await _stopped(line.producer)
        return Accepted()

    async def close(self) -> None:
        """Close without waiting for records nobody answers."""
        line, self._line = self._line, None
        if line is not None:
            await _stopped(line.producer)

    async def _connected(self) -> _Line:
        async with self._connecting:
            if self._line is None:
                producer = self._made()
                try:
                    await producer.start()
                except BaseException:
                    await _stopped(producer)
                    raise
                self._line = _Line(producer)
            return self._line

    @property
    def _hint(self) -> str:
        if not self._settings.kafka_idempotent:
            return ""
        return ": if it knows no idempotent ones, set SEVENP_NOTIFY_KAFKA_IDEMPOTENT=false"

    def _made(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            bootstrap_servers=self._bootstrap_servers,
            acks="all",
            enable_idempotence=self._settings.kafka_idempotent,
            request_timeout_ms=int(self._settings.send_timeout_s * 1000),
            **self._security,
        )

    async def _produce(self, producer: AIOKafkaProducer, message: Message) -> None:
        """Hand over, then wait for the producer's verdict, and say so when that takes long."""
        sent: asyncio.Future[Any] = await producer.send(
            self._settings.kafka_topic,
            message.body,
            key=str(message.user_id).encode(),
            headers=[("idempotency-key", message.key.encode()), ("kind", message.kind.encode())],
        )
        while not sent.done():
            await asyncio.wait({sent}, timeout=self._settings.send_timeout_s)
            if not sent.done():
                self._wait.failed(TimeoutError("no broker says that it has the record"))
        sent.result()
        self._wait.over()

    def _retire(self, line: _Line) -> None:
        """The next message gets a new producer; what is under way on this one comes to its own end."""
        line.retired = True
        if line is self._line:
            self._line = None


async def _stopped(producer: AIOKafkaProducer) -> None:
    """`stop` flushes for as long as the broker is away: bounded, because rows, not buffers, keep our promises."""
    with suppress(KafkaError, OSError, TimeoutError):
        await asyncio.wait_for(producer.stop(), _CLOSING_S)
