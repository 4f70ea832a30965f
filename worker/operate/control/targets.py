"""What can be paused: a role, or a part of one's work. Each has a name in `system_settings`, and in words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from worker.contract.identity import stream_kind
from worker.operate.control.limits import KNOBS
from worker.settings import NotificationKind, RoleName
from worker.storage.control_documents import Names

Kind = Literal["role", "partition", "projection", "kind", "stream"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_PREFIX = "pause."


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to pause in this system, besides roles, kinds of notifications and streams."""

    topics: frozenset[str]
    projections: frozenset[str]


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that can be paused; `number` is a partition's."""

    kind: Kind
    name: str
    number: int | None = None

    @property
    def key(self) -> str:
        """Its name in `system_settings`, without the prefix of all our keys."""
        number = "" if self.number is None else f".{self.number}"
        return f"{_PREFIX}{self.kind}.{self.name}{number}"

    @property
    def label(self) -> str:
        """What it is to the gauge `paused`: from a closed set."""
        return self.name if self.kind == "role" else self.kind

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + ("" if self.number is None else f"/{self.number}")


def names_of(known: Known) -> Names:
    """Under which names documents of ours mean something: what there are few of, and what may be thousands."""
    few: dict[Kind, Iterable[str]] = {
        "role": RoleName,
        "projection": sorted(known.projections),
        "kind": NotificationKind,
    }
    exact = [Target(kind, name).key for kind, names in few.items() for name in names]
    return Names([*exact, *(each.key for each in KNOBS)], [f"{_PREFIX}partition.", f"{_PREFIX}stream."])


def is_pause(key: str) -> bool:
    """Whether a key is one of something paused."""
    return key.startswith(_PREFIX)


def target_of(key: str, known: Known) -> Target:
    """What a key names. ValueError, in words, for one that names nothing that there is."""
    kind, _, name = key.removeprefix(_PREFIX).partition(".")
    if kind == "partition":
        topic, _, number = name.rpartition(".")
        return _checked(kind, [topic, number], known)
    return _checked(kind, [name], known)


def target_from(words: Sequence[str], known: Known) -> Target:
    """What somebody typed: `ingest`, `partition TOPIC 3`, `projection counts`. ValueError, in words, if nothing."""
    first, *names = words
    if first in set(RoleName) and not names:
        return Target("role", first)
    return _checked(first, names, known)


def _checked(kind: str, names: Sequence[str], known: Known) -> Target:
    match kind, [*names]:
        case "partition", [topic, number]:
            return Target("partition", _one_of(topic, known.topics, "topic"), _number(number))
        case "role", [name]:
            return Target("role", _one_of(name, set(RoleName), "role"))
        case "projection", [name]:
            return Target("projection", _one_of(name, known.projections, "projection"))
        case "kind", [name]:
            return Target("kind", _one_of(name, set(NotificationKind), "kind of notifications"))
        case "stream", [name] if stream_kind(name) is not None:
            return Target("stream", name)
        case "stream", [name]:
            raise ValueError(f"no stream has the name '{name}': it is course_<id>_user_<id>")
    roles = ", ".join(RoleName)
    raise ValueError(
        f"'{' '.join([kind, *names])}' is nothing that can be paused: name {roles}, or partition TOPIC N, "
        "projection NAME, kind NAME, stream ID"
    )


def _one_of(name: str, names: Iterable[str], what: str) -> str:
    known = sorted(map(str, names))
    if name not in known:
        raise ValueError(f"there is no {what} '{name}': there is {', '.join(known)}")
    return name


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError(f"'{text}' is no number of a partition")
    return int(text)
