"""Live work comes first: a run waits at its steps while that is shown late, and publishes what it has room for."""

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID

from worker.jobs.step_size import StepSize
from worker.settings import JobsSettings
from worker.storage import reading
from worker.storage.database import Database
from worker.timing import Clock
from worker.watch.folds.plan import number_in
from worker.watch.freshness import Freshness

# What a job publishes is to add no more than this part of the lag that live work may have.
_SHARE_OF_LAG = 0.2
# Of a large step so many are looked for.
_LOOKED_FOR = 50
# What has its own reason not to be shown (a learner who was erased meanwhile) is outvoted.
_MAY_BE_MISSING = 0.1
# Before that nobody looks, and then so often: each look takes from those who fold, and by looks that are far apart
# all ways are equally long.
_LEAST_OF_WAY, _LOOKS_A_WAY = 0.75, 8
_LEAST_BETWEEN_LOOKS_S = 0.005
# What takes longer is not waited for; the next steps are small then.
_LONGEST_S = 10.0
# Statistics and outbox follow the documents in turns of half a second.
_REST_S = 1.0


class Gate(Protocol):
    """What a run passes after each of its steps."""

    async def closed(self) -> str | None:
        """Why to wait, in words; None to go on. Cheap enough to be asked at every step."""


class LiveFirst:
    """Closed while live projections lag more than `max_lag_s` behind the event store; never, where that is 0."""

    def __init__(self, database: Database, settings: JobsSettings, clock: Clock) -> None:
        self._freshness = Freshness(database, clock)
        self._settings, self._clock = settings, clock
        self._look_at = clock.monotonic()
        self._said: str | None = None

    async def closed(self) -> str | None:
        """Measured every `measure_every_s`; in between it is as it was."""
        limit_s = self._settings.max_lag_s
        if not limit_s or self._clock.monotonic() < self._look_at:
            return self._said
        behind_s = await self._freshness.behind_s()
        self._look_at = self._clock.monotonic() + self._settings.measure_every_s
        self._said = f"waits: live work is {behind_s:.1f} s behind" if behind_s > limit_s else None
        return self._said


class SmallSteps:
    """For a job that publishes events: one step after the other, each when the documents show the one before.

    So no more than one step is ever in front of a live event, and steps are of a size that keeps this short
    (`StepSize`): they shrink when the worker has much to do, and grow when it has not. A step is followed by a rest
    as long as it took: half of the time belongs to live work alone. Where `max_lag_s` is 0, and as long as nobody was
    seen to follow, steps are of `most` events and not waited for. After a worker that followed has gone, steps stay
    small: it finds no pile when it comes back.
    """

    def __init__(self, database: Database, settings: JobsSettings, clock: Clock, *, most: int) -> None:
        self._freshness = Freshness(database, clock)
        self._database, self._settings, self._clock, self.most = database, settings, clock, most
        self._size = StepSize(_SHARE_OF_LAG * settings.max_lag_s, most)
        self._followed = False
        self._rest_s = 0.0

    async def room(self) -> int:
        """How many events the next step may have."""
        if self._settings.max_lag_s and not self._followed:
            self._followed = await self._freshness.followed()
        if not self._followed:
            return self.most
        await self._clock.sleep(max(self._rest_s, _REST_S if self._size.alone else 0.0))
        return self._size.events

    async def shown(self, streams: Mapping[UUID, str], since: float) -> None:
        """Return when these events of streams, which were published since then, are shown, or take too long."""
        if not self._followed or not streams:
            return
        left = set(list(streams)[:: 1 + (len(streams) - 1) // _LOOKED_FOR])
        most_missing = int(_MAY_BE_MISSING * len(left))
        took_s = self._clock.monotonic() - since
        await self._clock.sleep(max(0.0, _LEAST_OF_WAY * self._size.way_s - took_s))
        while len(left) > most_missing and took_s < _LONGEST_S:
            await self._clock.sleep(self._look_every_s)
            left -= await self._shown_of(left)
            took_s = self._clock.monotonic() - since
        self._rest_s = min(took_s, _REST_S)
        if took_s < _LONGEST_S or not self._size.alone:  # else one event has not told what a way takes
            self._size.took(len(streams), took_s)

    @property
    def _look_every_s(self) -> float:
        every_s = self._settings.look_at_steps_every_s
        if not self._size.way_s:
            return every_s
        return min(every_s, max(_LEAST_BETWEEN_LOOKS_S, self._size.way_s / _LOOKS_A_WAY))

    async def _shown_of(self, events: set[UUID]) -> set[UUID]:
        """Those that are stored, and that their streams' documents have got to."""
        found = await reading.find(
            self._database.course_events, {"_id": {"$in": list(events)}}, {"stream_id": 1, "version": 1}
        )
        heads = {event["stream_id"]: number_in(event, "version") for event in found.documents}
        missing = await self._freshness.missing(heads)
        return {event["_id"] for event in found.documents if event["stream_id"] not in missing}
