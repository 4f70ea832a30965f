"""What is paused and set, as operators see it, and the switches that follow from it: pure.

Documents of `system_settings` are written by others, too. One that makes no sense is named, and changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from worker.gate import Switches
from worker.operate.control.limits import LOG_LEVEL, RATES, is_setting, knob_of
from worker.operate.control.targets import Known, Target, is_pause, target_of
from worker.storage.control_documents import KEY_PREFIX, ControlDocument, Found

VALUE = "value"
"""In the document of something set: what it is set to."""


@dataclass(frozen=True, slots=True)
class Said:
    """Who asked for something, why, since when and until when, as far as it is known. `left_s` None: without end."""

    who: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    left_s: float | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """One thing that is paused."""

    target: Target
    said: Said


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that is set, to the value that its knob makes of it."""

    name: str
    value: Any
    said: Said


@dataclass(frozen=True, slots=True)
class Ignored:
    """A document that means nothing here, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Controls:
    """All that is in force in one environment, or was when it was read."""

    pauses: Sequence[Pause] = ()
    settings: Sequence[Setting] = ()
    ignored: Sequence[Ignored] = ()

    def after(self, seconds: float) -> "Controls":
        """What of it is still in force so many seconds later."""
        return Controls(
            [each for each in self.pauses if _lasts(each.said, seconds)],
            [each for each in self.settings if _lasts(each.said, seconds)],
            self.ignored,
        )

    @property
    def switches(self) -> Switches:
        """What the roles go by."""
        targets = [each.target for each in self.pauses]
        return Switches(
            roles=_named("role", targets),
            partitions=frozenset((each.name, each.number) for each in targets if each.number is not None),
            projections=_named("projection", targets),
            kinds=_named("kind", targets),
            streams=_named("stream", targets),
            rates={each.name: each.value for each in self.settings if each.name in RATES},
        )

    @property
    def log_level(self) -> str | None:
        """The level that is set, None where none is."""
        return next((each.value for each in self.settings if each.name == LOG_LEVEL.name), None)


def controls_of(found: Found, known: Known) -> Controls:
    """What was found, sorted into what is in force and what means nothing. What is over is neither."""
    pauses: list[Pause] = []
    settings: list[Setting] = []
    ignored = [Ignored(each.name, each.reason) for each in found.unreadable]
    for document in found.documents:
        try:
            entry = _entry(document, known)
        except ValueError as error:
            ignored.append(Ignored(KEY_PREFIX + document.name, str(error)))
            continue
        if isinstance(entry, Pause):
            pauses.append(entry)
        elif entry is not None:
            settings.append(entry)
    return Controls(pauses, settings, ignored)


def _entry(document: ControlDocument, known: Known) -> Pause | Setting | None:
    """What a document says, None for one that is over or says `false`. ValueError for one that makes no sense."""
    said, name = _said(document), document.name
    if not _lasts(said, 0):
        return None
    if is_pause(name):
        target = target_of(name, known)
        return Pause(target, said) if _is_on(document.value) else None
    if is_setting(name):
        knob = knob_of(name)
        return Setting(knob.name, knob.check(_value(document.value)), said)
    raise ValueError("its key is none of ours")


def _said(document: ControlDocument) -> Said:
    """ValueError for a time that is none: it may be the end of a pause, or not."""
    value = document.value
    if not isinstance(value, Mapping):
        return Said()
    who, reason, since, until = (value.get(name) for name in ("who", "reason", "since", "until"))
    if until is not None and (not isinstance(until, datetime) or document.left_s is None):
        raise ValueError("its `until` is no date")
    return Said(
        who if isinstance(who, str) else None,
        reason if isinstance(reason, str) else None,
        since if isinstance(since, datetime) else None,
        until,
        document.left_s,
    )


def _is_on(value: Any) -> bool:
    """Whether the document of a pause says that there is one: a document does, and so does `true`."""
    if isinstance(value, Mapping):
        return True
    if isinstance(value, bool):
        return value
    raise ValueError("its value is neither true nor a document")


def _value(value: Any) -> Any:
    """What something is set to: the field of a document, or a plain value that somebody wrote by hand."""
    return value.get(VALUE) if isinstance(value, Mapping) else value


def _lasts(said: Said, seconds: float) -> bool:
    return said.left_s is None or said.left_s > seconds


def _named(kind: str, targets: Iterable[Target]) -> frozenset[str]:
    return frozenset(each.name for each in targets if each.kind == kind)


def moment(time: datetime | None) -> str:
    """A time for people."""
    return "" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
