"""Lists of lessons that were read, by their content: none grows old, and those that nobody used of late go first."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

# 4,000 courses of 300 lessons. One list takes 60 kB at most.
_MOST_BYTES = 16_000_000


class KnownLists:
    """The bytes of lists by their id, so many bytes at most."""

    def __init__(self, max_bytes: int = _MOST_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lists: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """What the lists take."""
        return self._bytes

    def look(self, wanted: Iterable[bytes]) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Those of the lists that are known, and the ids of those that have to be read."""
        known: dict[bytes, bytes] = {}
        missing: list[bytes] = []
        for list_id in wanted:
            found = self._lists.get(list_id)
            if found is None:
                missing.append(list_id)
            else:
                self._lists.move_to_end(list_id)
                known[list_id] = found
        return known, missing

    def put(self, lists: Mapping[bytes, bytes]) -> None:
        """Keep what was read and is what its id says."""
        for list_id, lessons in lists.items():
            if list_id not in self._lists:
                self._lists[list_id] = lessons
                self._bytes += len(lessons)
        while self._bytes > self._max_bytes:
            _, dropped = self._lists.popitem(last=False)
            self._bytes -= len(dropped)
