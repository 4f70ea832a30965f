"""Documents that somebody changes again and again: each is summed at once, then less and less often."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

from worker.settings import CoolDownSettings
from worker.storage.leases import Token
from worker.watch.sums.attempt import Keys, Target

# Remembered documents, and documents that wait; beyond that the oldest are forgotten, or summed at once.
_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class _Summed:
    """When a document was summed last, and how many turns it had left then."""

    at: float
    turns: float


class CoolDown:
    """Which documents are summed now, and which wait; told what moved, batch by batch.

    Those `at_once` never wait; those that are `steady` wait no longer the hundredth time than the second.

    It holds nothing that a restart would miss: as long as a document waits, `token` lies before its change.
    """

    def __init__(
        self, limits: CoolDownSettings, *, at_once: Collection[str] = (), steady: Collection[str] = ()
    ) -> None:
        self._limits = limits
        self._at_once, self._steady = at_once, steady
        self._summed: OrderedDict[Target, _Summed] = OrderedDict()
        self._waiting: OrderedDict[Target, Token] = OrderedDict()

    def admit(self, keys: Keys, before: Token, now: float) -> Keys:
        """Those that never wait, and those whose turn it is.

        `before` is the token of the change stream before this batch, `now` a monotonic clock's.
        """
        never = frozenset(target for target in keys if target[0] in self._at_once)
        for target in keys - never:
            self._waiting.setdefault(target, before)
        surplus = islice(self._waiting, max(0, len(self._waiting) - _KEPT))
        due = {target for target in self._waiting if self._due_at(target) <= now} | set(surplus)
        for target in due:
            del self._waiting[target]
            self._take_turn(target, now)
        while len(self._summed) > _KEPT:
            self._summed.popitem(last=False)
        return never | due

    def token_up_to(self, token: Token) -> Token:
        """What may be saved when everything before `token` was counted, but for those that wait."""
        return next(iter(self._waiting.values()), token)

    def forget_waiting(self) -> None:
        """For a stream that is opened again: it begins at a saved token, and tells of them again."""
        self._waiting.clear()

    def _due_at(self, target: Target) -> float:
        summed = self._summed.get(target)
        if summed is None:
            return 0.0
        limits = self._limits
        if target[0] in self._steady:
            return summed.at + limits.at_most_every_s
        return summed.at + max(limits.at_most_every_s, (1 - summed.turns) * limits.then_every_s)

    def _take_turn(self, target: Target, now: float) -> None:
        summed, most = self._summed.pop(target, None), float(self._limits.turns)
        earned = most if summed is None else summed.turns + (now - summed.at) / self._limits.then_every_s
        self._summed[target] = _Summed(now, max(0.0, min(most, earned) - 1))
