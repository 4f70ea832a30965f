"""What a sender is given, and the three things that can become of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bson import ObjectId


@dataclass(frozen=True, slots=True)
class Message:
    """One notification as every channel gets it; `key` and `body` are the same however often it is sent."""

    key: str
    kind: str
    user_id: ObjectId
    created_at: datetime
    body: bytes


@dataclass(frozen=True, slots=True)
class Recipient:
    """What the platform's documents say about who is notified; None where they say nothing.

    `wants` is whether the learner wants the channel; `unreadable` is why that is not known, where it is not.
    """

    email: str | None = None
    course_title: str | None = None
    wants: bool = True
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receiver answered that it has it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver, or the protocol, objects to this very message: trying again may not help."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The receiver did not take it and may do so later, for the next message as for this one.

    `retry_after_s` is how long it asked to be left alone.
    """

    reason: str
    retry_after_s: float | None = None


Delivery = Accepted | Refused | Unavailable


class Sender(Protocol):
    """One channel. `send` is called concurrently, and again with the same message after a crash or failure."""

    async def send(self, message: Message, recipient: Recipient) -> Delivery:
        """Hand the message over, within a time of the sender's own; what was accepted stays so when that ends.

        Never raises for what a receiver does; the reason names no payload.
        """

    async def close(self) -> None:
        """Give connections back; may be called twice."""
