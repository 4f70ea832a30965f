"""Liveness and readiness: who moved when, and which dependency answers.

Liveness is progress or a legitimate idle, never lag and never "the task exists": a component that awaits for
ever stops beating and is found out. Readiness is the dependencies. Written from the event loop, read from the
HTTP thread: every field is replaced whole, never changed in place.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

from worker.telemetry.metrics import Metrics
from worker.timing import Clock

# Liveness must turn within 60 s; a probe every 10 s leaves 5 s to spare.
STALL_AFTER_S = 45.0


# The component on whose behalf the running task works; tasks it starts inherit it.
_acting: ContextVar["Component | None"] = ContextVar("acting_component", default=None)


class Component:
    """Something that has to keep moving. Counts as moving when it is created.

    One that has parts moves as long as each of them does.
    """

    def __init__(self, name: str, clock: Clock, stall_after_s: float) -> None:
        self.name = name
        self.stall_after_s = stall_after_s
        self._clock = clock
        self._last = clock.monotonic()
        self._parts: tuple[Component, ...] = ()

    def part(self) -> "Component":
        """One of several that do this component's work side by side: one that moves hides none that does not."""
        part = Component(self.name, self._clock, self.stall_after_s)
        self._parts = (*self._parts, part)
        return part

    def beat(self) -> None:
        """Say that work moved, or that there is none. Costs one clock read: call it in every turn."""
        self._last = self._clock.monotonic()

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Inside, answers of a server count as this component's progress (see `beat_acting`)."""
        before = _acting.set(self)
        try:
            yield
        finally:
            _acting.reset(before)

    @property
    def seconds_since_progress(self) -> float:
        if self._parts:
            return max(part.seconds_since_progress for part in self._parts)
        return max(0.0, self._clock.monotonic() - self._last)

    @property
    def stalled(self) -> bool:
        return self.seconds_since_progress >= self.stall_after_s

    def last_progress_timestamp(self) -> float:
        """Unix time of the last beat, by today's wall clock."""
        return self._clock.now().timestamp() - self.seconds_since_progress


def beat_acting() -> None:
    """Beat for the component that asked. A chain of slow answers is slow, not stuck, however long it is."""
    component = _acting.get()
    if component is not None:
        component.beat()


class Dependency:
    """Something outside that has to answer. `reason` is None while it does, and something before the first answer."""

    def __init__(self) -> None:
        self.reason: str | None = "not reached yet"

    def up(self) -> None:
        self.reason = None

    def down(self, reason: str) -> None:
        """`reason` is shown to operators; an empty one still counts as down."""
        self.reason = reason or "no reason given"


class Health:
    """All components and dependencies of one process."""

    def __init__(self, clock: Clock, metrics: Metrics | None = None) -> None:
        self._clock = clock
        self._metrics = metrics
        self._lock = Lock()
        self._components: Mapping[str, Component] = {}
        self._dependencies: Mapping[str, Dependency] = {}
        self.paused: tuple[str, ...] = ()
        """What operators have paused, in words: shown beside the dependencies, and no reason to be unready."""

    def component(self, name: str, stall_after_s: float = STALL_AFTER_S) -> Component:
        """Register a component under its name, a closed set; the same name gives the same component."""
        name = str(name)  # a name may be an enum's member
        with self._lock:
            if (known := self._components.get(name)) is not None:
                return known
            component = Component(name, self._clock, stall_after_s)
            self._components = {**self._components, name: component}
        if self._metrics is not None:
            self._metrics.component_up.labels(name).set_function(lambda: not component.stalled)
            last_progress = self._metrics.component_last_progress_timestamp_seconds.labels(name)
            last_progress.set_function(component.last_progress_timestamp)
        return component

    def dependency(self, name: str) -> Dependency:
        """Register a dependency under its name, a closed set; the same name gives the same dependency."""
        with self._lock:
            if (known := self._dependencies.get(name)) is not None:
                return known
            dependency = Dependency()
            self._dependencies = {**self._dependencies, name: dependency}
        if self._metrics is not None:
            self._metrics.dependency_up.labels(name).set_function(lambda: dependency.reason is None)
        return dependency

    def components(self) -> tuple[Component, ...]:
        return tuple(self._components.values())

    def dependencies(self) -> dict[str, str | None]:
        """Why each dependency is down, by name; None for one that is up."""
        return {name: dependency.reason for name, dependency in self._dependencies.items()}
