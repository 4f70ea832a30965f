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
from worker.words import counted

VALUE = "value"
"""In the document of something set: what it is set to."""
MOST_NAMED = 20
"""Of very many things so many are named, in the log and on screens; of the others only how many there are."""

# What else a document may say, and of what type: somebody who writes anything else means something by it.
_FIELDS: Mapping[str, tuple[type, str]] = {
    "who": (str, "text"),
    "reason": (str, "text"),
    "since": (datetime, "date"),
    "until": (datetime, "date"),
}
# Nobody reads more of a reason, and whoever holds thousands of them has to.
_LONGEST = 500
# Of fields that mean nothing as many are named, and so many letters of each.
_FIELDS_NAMED, _LETTERS_NAMED = 3, 40


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
    """All that is in force in one environment, or was when it was read.

    Of documents that mean nothing `ignored_in_all` is the number, and `ignored` the first few.
    """

    pauses: Sequence[Pause] = ()
    settings: Sequence[Setting] = ()
    ignored: Sequence[Ignored] = ()
    ignored_in_all: int = 0

    def after(self, seconds: float) -> "Controls":
        """What of it is still in force so many seconds later."""
        return Controls(
            [each for each in self.pauses if _lasts(each.said, seconds)],
            [each for each in self.settings if _lasts(each.said, seconds)],
            self.ignored,
            self.ignored_in_all,
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
    ignored = [Ignored(each.name, each.reason) for each in found.unreadable[:MOST_NAMED]]
    if found.unread:
        too_many = f"{counted(found.unread, 'document')} of ours are not read: there are too many of them"
        ignored.insert(0, Ignored(f"{KEY_PREFIX}...", too_many))
    number = len(found.unreadable) + found.unread
    for document in found.documents:
        try:
            entry = _entry(document, known)
        except ValueError as error:
            number += 1
            if len(ignored) < MOST_NAMED:
                ignored.append(Ignored(KEY_PREFIX + document.name, str(error)))
            continue
        if isinstance(entry, Pause):
            pauses.append(entry)
        elif entry is not None:
            settings.append(entry)
    return Controls(pauses, settings, ignored, number)


def _entry(document: ControlDocument, known: Known) -> Pause | Setting | None:
    """What a document says, None for one that is over or says `false`. ValueError for one that makes no sense."""
    name = document.name
    said = _said(document, (VALUE,) if is_setting(name) else ())
    if not _lasts(said, 0):
        return None
    if is_pause(name):
        target = target_of(name, known)
        return Pause(target, said) if _is_on(document.value) else None
    if is_setting(name):
        knob = knob_of(name)
        return Setting(knob.name, knob.check(_value(document.value)), said)
    raise ValueError("its key is none of ours")


def _said(document: ControlDocument, also: Sequence[str]) -> Said:
    """ValueError for a field that is none of ours, or whose value is none: it may be the end of a pause, or not."""
    value = document.value
    if not isinstance(value, Mapping):
        return Said()
    if others := [str(name) for name in value if name not in _FIELDS and name not in also]:
        raise ValueError(
            f"{_named_fields(others)} means nothing here: there is {', '.join([*also, *_FIELDS])}"
        )
    for name, (kind, words) in _FIELDS.items():
        if value.get(name) is not None and not isinstance(value[name], kind):
            raise ValueError(f"its `{name}` is no {words}")
    who, reason, since, until = (value.get(name) for name in _FIELDS)
    if until is not None and document.left_s is None:
        raise ValueError("its `until` is no date")
    return Said(who and who[:_LONGEST], reason and reason[:_LONGEST], since, until, document.left_s)


def _named_fields(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FIELDS_NAMED:,} more" if len(names) > _FIELDS_NAMED else ""
    return ", ".join(f"its `{each[:_LETTERS_NAMED]}`" for each in names[:_FIELDS_NAMED]) + more


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
