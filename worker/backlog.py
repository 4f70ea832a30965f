"""Whether ingest of this process is behind, as those see it who follow what it stores.

Who follows then leaves the machine to ingest for some seconds at a time: of a partition that is behind nobody sees
the newest state before its events are stored, and a document that is written for many events at once costs little
more than for one.
"""

from worker.timing import Clock

# What ingest stores within a second or two. Below that nobody shall wait for anything.
_RECORDS = 5_000
# Whoever said it may have ended since.
_BELIEVED_S = 30.0


class Backlog:
    """What ingest has said last; without it nothing waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = clock.monotonic()

    def note(self, records: int) -> None:
        """So many records wait in Kafka, of partitions that are read as fast as they can be."""
        self._until = self._clock.monotonic() + (_BELIEVED_S if records >= _RECORDS else 0.0)

    @property
    def is_large(self) -> bool:
        """Whether more waits than ingest stores within a second or two."""
        return self._clock.monotonic() < self._until
