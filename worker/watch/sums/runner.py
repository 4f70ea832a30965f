"""Transactions of sums and read models, run until they commit: after a wait, split, or without what is in the way."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from projections.counts.statistics import USUAL_CURRENCY
from worker.errors import Refused, Retryable
from worker.storage.database import Database
from worker.storage.transactions import Transactions
from worker.telemetry.labels import NotificationOutcome
from worker.telemetry.metrics import Metrics
from worker.telemetry.mongodb import retry_counter
from worker.timing import Clock
from worker.watch.sums.attempt import Attempt, Keys, Reason, RejectedWrite, Rejections, Target, TooLarge

T = TypeVar("T")

# Somebody else's writes to a few documents pass at once. What goes on conflicting is split.
_ATTEMPTS = 5
_SPLIT_AFTER = 2
_LONGEST_WAIT_S = 0.5
# How long a document the server refused is left alone while others go on moving.
_COOL_DOWN_S = 600.0


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What every sum and read model of one role works with.

    `keep_alive` is awaited after every attempt, some tenths of a second: to beat, to renew leases. `trial`: what each
    transaction would do is seen, and given up. `patience_s` is how long a transaction is tried again that meets
    others, a few times at least. What was paid is shown in `revenue_currency` first.
    """

    database: Database
    transactions: Transactions
    clock: Clock
    metrics: Metrics
    keep_alive: Callable[[], Awaitable[None]]
    code_version: str
    seed: int | None = None
    trial: bool = False
    patience_s: float = 0.0
    revenue_currency: str = USUAL_CURRENCY

    def on_retry(self, error: Retryable) -> None:
        """MongoDB failed, and what was asked is asked again."""
        retry_counter(self.metrics)(error)


class Runner:
    """Runs the transactions of one projection, `most` keys in each at most; remembers what the server refused.

    Who is given more keys at once gets a transaction of up to so many `times` as many, which is not tried again as
    large when it meets others: nobody shall wait for it long.
    """

    def __init__(self, given: Dependencies, most: int, *, times: int = 1) -> None:
        self._given = given
        self._most = most
        self._widest = self._width = times * most
        self._cooling: dict[Target, tuple[float, Reason]] = {}
        self._random = random.Random(given.seed)  # noqa: S311  # jitter, not a secret

    async def run(
        self, keys: Keys, transact: Callable[[Attempt], Awaitable[T]], retrying: Keys = frozenset()
    ) -> AsyncGenerator[tuple[Attempt, T]]:
        """Each attempt that committed, with its result; together they are about all keys.

        What goes on conflicting, or being refused, or does not fit, is split. `retrying` are to be tried whatever was
        refused before. Raises Retryable after five conflicts and `patience_s`, and what else `transact` raises.
        """
        for target in retrying:
            self._cooling.pop(target, None)
        waiting = [keys]
        while waiting:
            some = waiting.pop()
            done = await self._committed(some, transact, retrying) if len(some) <= self._width else None
            if done is not None:
                for kind in done[0].suppressed:
                    notifications = self._given.metrics.notifications_total
                    notifications.labels(kind, NotificationOutcome.SUPPRESSED).inc()
                yield done
                continue
            ordered = sorted(some, key=str)
            middle = len(ordered) // 2
            waiting += [frozenset(ordered[middle:]), frozenset(ordered[:middle])]

    async def _committed(
        self, keys: Keys, transact: Callable[[Attempt], Awaitable[T]], retrying: Keys
    ) -> tuple[Attempt, T] | None:
        """Run one transaction until it commits; None where parts of it may do better.

        After a conflict the documents it was about to write are held from the first command on. Nothing is awaited
        while an error is handled: it would keep alive whatever its transaction had read.
        """
        transactions = self._given.transactions
        transaction = transactions.give_up if self._given.trial else transactions.run
        conflicts = rejections = 0
        patient_until = 0.0
        concerned: Keys = frozenset()
        while True:
            wait_s, cooling = 0.0, self._rejections()
            attempt = Attempt(keys, cooling, concerned - cooling.keys(), retrying)
            try:
                result = await transaction(partial(attempt.within, transact))
            except TooLarge as error:
                self._width = max(1, min(len(keys) // 2, int(len(keys) * error.fitting)))
                return None
            except (RejectedWrite, Refused) as error:
                self._cool_down(error, keys)
                rejections += 1
                if (rejections >= _SPLIT_AFTER or isinstance(error, Refused)) and len(keys) > 1:
                    return None
            except Retryable as error:
                conflicts += 1
                patient_until = patient_until or self._given.clock.monotonic() + self._given.patience_s
                concerned = frozenset(attempt.concerned)
                self._given.on_retry(error)
                if conflicts >= _ATTEMPTS and self._given.clock.monotonic() >= patient_until:
                    raise
                if self._does_better_in_parts(keys, conflicts):
                    return None
                wait_s = self._random.uniform(0, _LONGEST_WAIT_S / 2 ** max(0, _ATTEMPTS - conflicts))
            else:
                if attempt.has_room:
                    self._width = min(max(self._width, 2 * len(keys)), self._widest)
                await self._given.keep_alive()
                return attempt, result
            await self._given.clock.sleep(wait_s)
            await self._given.keep_alive()

    def _does_better_in_parts(self, keys: Keys, conflicts: int) -> bool:
        """Whether to split what met others so often; what is larger than usual would hold too much if tried again."""
        if len(keys) > self._most:
            self._width = self._most
            return True
        return conflicts >= _SPLIT_AFTER and len(keys) > 1

    def _cool_down(self, error: RejectedWrite | Refused, keys: Keys) -> None:
        """Leave a document alone for a while. Where nobody says which it is, the only one left is to blame."""
        if isinstance(error, RejectedWrite):
            target, reason = error.target, error.reason
        elif len(keys) == 1:
            target, reason = next(iter(keys)), Reason("Refused", str(error))
        else:
            return
        if target in self._cooling:
            raise Retryable(f"it stands in the way though it is left out: {reason.message}") from error
        self._cooling[target] = (self._given.clock.monotonic() + _COOL_DOWN_S, reason)

    def _rejections(self) -> Rejections:
        now = self._given.clock.monotonic()
        self._cooling = {target: rest for target, rest in self._cooling.items() if rest[0] > now}
        return {target: reason for target, (_, reason) in self._cooling.items()}
