"""A broken invariant in one sentence, and the comparisons that find it; what breaks often is told shortly."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A rule that is broken a thousand times is told this many times, and then how often.
_TOLD = 20
_LONGEST = 160


@dataclass(frozen=True, slots=True)
class Finding:
    """`invariant` is its number, 1 to 10, as in the package's first lines."""

    invariant: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.sentence}"


def bounded(invariant: int, sentences: Iterable[str]) -> Iterator[Finding]:
    """The first sentences, and how many more there were."""
    told = 0
    for told, sentence in enumerate(sentences, start=1):
        if told <= _TOLD:
            yield Finding(invariant, sentence)
    if told > _TOLD:
        yield Finding(invariant, f"... and {told - _TOLD} more of the last kind")


def miscounted(
    what: str,
    wanted: Counter[Any],
    found: Counter[Any],
    *,
    allowed: Mapping[Any, int] | None = None,
) -> Iterator[str]:
    """Each key that is there too seldom or too often; `allowed` may be there beyond what is wanted."""
    for key in wanted.keys() | found.keys():
        most = wanted[key] + (allowed or {}).get(key, 0)
        if found[key] < wanted[key]:
            yield f"{what} {shortened(key)} is missing: {found[key]} of {wanted[key]}"
        elif found[key] > most:
            excess = "unexpected" if most == 0 else "there too often"
            yield f"{what} {shortened(key)} is {excess}: {found[key]} of {most}"


def unequal(subject: str, expected: Any, shown: Any, path: str = "") -> Iterator[str]:
    """Each place where a document shows something else than expected; fields nobody expects are not looked at.

    A double is no integer, a missing field no null, and lists are compared place by place.
    """
    if isinstance(expected, Mapping) and isinstance(shown, Mapping):
        for name, value in expected.items():
            yield from unequal(subject, value, shown.get(name, _ABSENT), f"{path}.{name}" if path else name)
    elif _is_list(expected) and _is_list(shown) and len(expected) == len(shown):
        for place, (one, other) in enumerate(zip(expected, shown, strict=True)):
            yield from unequal(subject, one, other, f"{path}.{place}")
    elif expected != shown or _kind(expected) is not _kind(shown):
        yield f"{subject} shows {path} {shortened(repr(shown))}, not {shortened(repr(expected))}"


def unexpected(subject: str, expected: Any, shown: Any, path: str) -> Iterator[str]:
    """Each field that an object shows and nobody expects, for what nobody but the worker writes to."""
    if isinstance(expected, Mapping) and isinstance(shown, Mapping):
        for name, value in shown.items():
            if name in expected:
                yield from unexpected(subject, expected[name], value, f"{path}.{name}")
            else:
                yield f"{subject} shows {path}.{name}, which is nowhere said"
    elif _is_list(expected) and _is_list(shown):
        for place, (one, other) in enumerate(zip(expected, shown, strict=False)):
            yield from unexpected(subject, one, other, f"{path}.{place}")


def shortened(value: Hashable) -> str:
    """The value's text, cut where nobody reads on."""
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


_ABSENT = _Absent()


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _kind(value: object) -> type:
    """BSON's number types matter; that a driver has two classes for integers does not."""
    return next((kind for kind in (bool, int, float) if isinstance(value, kind)), object)
