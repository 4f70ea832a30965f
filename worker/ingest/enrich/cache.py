"""What was read a moment ago, bounded in age, entries and bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from worker.timing import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Entry(NamedTuple, Generic[V]):
    value: V
    read_at: float
    size_bytes: int


class AgedCache(Generic[K, V]):
    """Values by key, forgotten when they are `age_s` old; those read first go first where there is no room.

    An age needs no second look at what was read, and no change stream: what somebody changes is seen that much later,
    by every process, also where a change is not told.
    """

    def __init__(
        self, clock: Clock, *, age_s: float, entries: int, max_bytes: int, size: Callable[[V], int]
    ) -> None:
        self._clock, self._age_s, self._size = clock, age_s, size
        self._most, self._max_bytes = entries, max_bytes
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """About what the values take."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def look(self, keys: Iterable[K]) -> tuple[dict[K, V], list[K]]:
        """What is known of the keys, and those that have to be read. Keep the values: others may forget them."""
        self._forget_old()
        known: dict[K, V] = {}
        missing: list[K] = []
        for key in keys:
            entry = self._entries.get(key)
            if entry is None:
                missing.append(key)
            else:
                known[key] = entry.value
        return known, missing

    def put(self, values: Mapping[K, V]) -> None:
        """Keep what was read now. There may be more than there is room for: it goes with the next ones."""
        now, entries = self._clock.monotonic(), self._entries
        for key, value in values.items():
            former = entries.pop(key, None)
            size_bytes = self._size(value)
            entries[key] = _Entry(value, now, size_bytes)
            self._bytes += size_bytes - (0 if former is None else former.size_bytes)

    def trim(self) -> None:
        """Make the bounds hold; called behind a batch, so that none loses what it has just read."""
        while self._entries and (len(self._entries) > self._most or self._bytes > self._max_bytes):
            self._drop_first()

    def _forget_old(self) -> None:
        until = self._clock.monotonic() - self._age_s
        while self._entries and next(iter(self._entries.values())).read_at <= until:
            self._drop_first()

    def _drop_first(self) -> None:
        self._bytes -= self._entries.popitem(last=False)[1].size_bytes
