"""Keeps the gate of a process as the documents of `system_settings` say, within seconds, whatever becomes of MongoDB.

While MongoDB is away what was read last holds, and ends when it was to end. Nothing here can end the process: a
document that makes no sense is named once and ignored, and so is a collection that this user may not read.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from worker.errors import Retryable, WorkerError
from worker.gate import Gate
from worker.operate.control.commands import in_force
from worker.operate.control.controls import MOST_NAMED, Controls, Ignored, Pause
from worker.operate.control.targets import Known
from worker.settings import ControlSettings
from worker.storage.database import Database
from worker.telemetry.health import Health
from worker.telemetry.labels import PAUSABLE
from worker.telemetry.metrics import Metrics
from worker.timing import Clock, cancel_and_wait, run_until_stopped

log = structlog.get_logger(__name__)

# More that happens at once than this is one line: thousands of them would hide everything else.
_MOST_LINES = 5
# Of rest before the next look for each thing that is paused: looking at 10,000 takes a tenth of a second.
_RESTS_S = 0.0005


class ControlReader:
    """A role of every process. `set_log_level` is told a level when one is set, and None when none is any more."""

    name = "control"

    def __init__(
        self,
        database: Database,
        settings: ControlSettings,
        known: Known,
        gate: Gate,
        clock: Clock,
        metrics: Metrics,
        health: Health,
        *,
        set_log_level: Callable[[str | None], None],
    ) -> None:
        self._database = database
        self._settings = settings
        self._known = known
        self._gate = gate
        self._clock = clock
        self._metrics = metrics
        self._health = health
        self._set_log_level = set_log_level
        self._read = Controls()
        self._read_at = self._look_at = clock.monotonic()
        self._shown = Controls()
        self._ignored: frozenset[Ignored] = frozenset()
        self._level: str | None = None
        self._silent: str | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Look every second until `stop`. A silent server holds up neither the end of a pause nor us."""
        component, every_s = self._health.component(self.name), self._settings.look_every_s
        looking = asyncio.create_task(self._look_once())
        try:
            while not stop.is_set():
                component.beat()
                await asyncio.wait({looking}, timeout=every_s)
                self._apply()
                await run_until_stopped(self._clock.sleep(every_s), stop)
                if looking.done():
                    looking.result()
                    if self._clock.monotonic() >= self._look_at:
                        looking = asyncio.create_task(self._look_once())
        finally:
            await cancel_and_wait(looking)

    async def look(self) -> None:
        """Read what is paused and set, and have it apply. Raises WorkerError where it cannot be read."""
        number = self._gate.begin_read()
        self._read = await in_force(self._database, self._settings.environment, self._known)
        self._read_at = self._clock.monotonic()
        self._look_at = self._read_at + _RESTS_S * len(self._read.pauses)
        self._metrics.control_last_read_timestamp_seconds.set(self._clock.now().timestamp())
        self._metrics.control_ignored_settings.set(self._read.ignored_in_all)
        self._name_ignored()
        self._apply()
        self._gate.was_read(number)

    async def look_at_start(self) -> None:
        """As `look`, before anything begins: only a MongoDB that is away is a reason to wait. Raises Retryable."""
        try:
            await self.look()
        except Retryable:
            raise
        except WorkerError as error:
            self._tell(str(error))

    async def _look_once(self) -> None:
        """Look; where that fails, go on by what was read last."""
        try:
            await self.look()
        except WorkerError as error:
            self._tell(str(error))
        else:
            self._tell(None)

    def _apply(self) -> None:
        """Turn the gate to what is in force at this moment, and say what has changed."""
        now = self._read.after(self._clock.monotonic() - self._read_at)
        self._gate.turn(now.switches)
        if now.log_level != self._level:
            self._level = now.log_level
            self._set_log_level(self._level)
        self._show(now)

    def _show(self, now: Controls) -> None:
        before = {each.target for each in self._shown.pauses}
        targets = {each.target for each in now.pauses}
        self._say_paused([each for each in now.pauses if each.target not in before])
        self._say_resumed(sorted(map(str, before - targets)))
        was = {each.name: each.value for each in self._shown.settings}
        for setting in now.settings:
            if was.get(setting.name) != setting.value:
                name, value, who = setting.name, setting.value, setting.said.who
                log.warning("set_at_run_time", setting=name, value=value, who=who)
        for name in was.keys() - {each.name for each in now.settings}:
            log.warning("unset_at_run_time", setting=name)
        self._shown = now
        numbers = Counter(each.target.label for each in now.pauses)
        for what in PAUSABLE:
            self._metrics.paused.labels(what).set(numbers[what])
        self._health.paused = _in_words(now, numbers["stream"])

    def _say_paused(self, new: Sequence[Pause]) -> None:
        if len(new) > _MOST_LINES:
            first = [str(each.target) for each in new[:MOST_NAMED]]
            log.warning("many_paused", number=len(new), first=first, who=new[0].said.who)
            return
        for each in new:
            who, reason, until = each.said.who, each.said.reason, _said(each.said.until)
            log.warning("paused", what=str(each.target), who=who, reason=reason, until=until)

    def _say_resumed(self, names: Sequence[str]) -> None:
        if len(names) > _MOST_LINES:
            log.warning("many_resumed", number=len(names), first=names[:MOST_NAMED])
            return
        for name in names:
            log.warning("resumed", what=name)

    def _name_ignored(self) -> None:
        """Say once of each document why it is ignored, as far as they are named at all."""
        ignored = frozenset(self._read.ignored)
        new = sorted(ignored - self._ignored, key=lambda one: one.key)
        if len(new) > _MOST_LINES:
            number, first = self._read.ignored_in_all, [f"{each.key}: {each.reason}" for each in new]
            log.warning("system_settings_ignored", number=number, first=first)
        else:
            for each in new:
                log.warning("system_setting_ignored", key=each.key, reason=each.reason)
        self._ignored = ignored

    def _tell(self, reason: str | None) -> None:
        """Say when reading begins to fail, and when it works again; not every second in between."""
        if reason is not None and self._silent is None:
            log.warning("system_settings_unread", reason=reason)
        if reason is None and self._silent is not None:
            log.info("system_settings_read_again")
        self._silent = reason


def _in_words(now: Controls, streams: int) -> tuple[str, ...]:
    """What is paused; of streams only how many, for their names are about people."""
    named = sorted(str(each.target) for each in now.pauses if each.target.kind != "stream")
    more = [f"and {len(named) - MOST_NAMED:,} more"] if len(named) > MOST_NAMED else []
    return (*named[:MOST_NAMED], *more, *([f"streams: {streams}"] if streams else []))


def _said(time: object) -> str | None:
    return None if time is None else str(time)
