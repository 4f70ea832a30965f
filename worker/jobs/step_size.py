"""How many events a job publishes at once beside live work, learned from how long earlier steps took to be shown."""

from collections import deque
from statistics import median

# A first guess. It is corrected within a few steps.
_FIRST = 8.0
# A step that took too long is followed by half of it at least, one that did not by a quarter more at most.
_LEAST_OF_IT, _MOST_OF_IT = 0.5, 1.25
# So often a step is of one event, by which it is known what a way takes that nobody has to share.
_ALONE_EVERY = 50
_ALONE_KEPT = 5
# How much the last step decides of what an event is taken to cost; the steps before decide the rest.
_SHARE_OF_LAST = 0.3
# Freshness is measured from the event store on: the way from Kafka to the documents is two to four times as long.
_ADDED_TO_WAY = 0.25


class StepSize:
    """So many events at once, 1 to `most`, that they delay what follows by a quarter of their way, or by `longest_s`.

    What a step takes until it is shown is the way through Kafka, event store and change stream, and the time in which
    its events are folded. The former is what a step of a single event takes: the median of the last few of them, so
    that live work that has become slower for good is not held against the job. What a step takes beyond that, others
    wait for. Two ways are never equally long: what an event costs is an average over the last few steps, and a step
    that was faster than a single event counts as well, or chance alone would keep steps small.
    """

    def __init__(self, longest_s: float, most: int) -> None:
        self._longest_s, self._most = longest_s, most
        self._alone_s: deque[float] = deque(maxlen=_ALONE_KEPT)
        self._since_alone = 0
        self._size = min(_FIRST, float(most))
        self._each_s: float | None = None

    @property
    def alone(self) -> bool:
        """Whether the next step is to be of one event, at a moment at which nothing else of the job is on its way."""
        return not self._alone_s or self._since_alone >= _ALONE_EVERY

    @property
    def way_s(self) -> float:
        """What a step of one event takes until it is shown, as far as that is known."""
        return median(self._alone_s) if self._alone_s else 0.0

    @property
    def events(self) -> int:
        """How many the next step may have."""
        return 1 if self.alone else max(1, int(self._size))

    def took(self, events: int, seconds: float) -> None:
        """A step of so many events was shown after so long."""
        if self.alone:
            self._alone_s.append(seconds)
            self._since_alone = 0
            return
        self._since_alone += 1
        each_s = (seconds - self.way_s) / events
        self._each_s = (
            each_s if self._each_s is None else self._each_s + _SHARE_OF_LAST * (each_s - self._each_s)
        )
        # Of the shortest way: a single event that happened to take long must not let a step be large.
        added_s = min(self._longest_s, _ADDED_TO_WAY * min(self._alone_s))
        wanted = added_s / max(1e-6, self._each_s)
        # What was no full step says nothing of a larger one.
        highest = self._size * _MOST_OF_IT + 1 if events >= int(self._size) else self._size
        self._size = min(max(wanted, self._size * _LEAST_OF_IT, 1.0), highest, float(self._most))
