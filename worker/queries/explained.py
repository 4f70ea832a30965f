"""The documents that follow from a learner's events: where each lies, and how it stands to what the events say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bson import ObjectId

from projections.kinds import Document, StreamProjection, SumProjection
from projections.paths import by_path, nested
from worker.contract.identity import stream_object_id
from worker.contract.reserved import is_reserved
from worker.errors import Refused
from worker.queries.fields import ABSENT, differing, value_at, why_unknown
from worker.queries.stepwise import View, counted_row, of_events
from worker.queries.withheld import Twin, Withheld, is_nobodys
from worker.storage import reading
from worker.storage.database import Database
from worker.storage.encoding import same
from worker.storage.reading import Unreadable
from worker.words import counted

# Enough to see what kind of difference it is; `verify` and a rebuild know no single fields.
MOST_DIFFERENCES: Final = 20


class UnknownField(Refused):
    """The stream's events make no such field in any document; the message says which they make."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field in which the stored document is not what its events say. None: there is no such field.

    `personal`: one of both says who somebody is, and both are withheld.
    """

    field: str
    folded: Any
    stored: Any
    personal: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How a stored document stands to its events: `agrees` is None where that cannot be said.

    `differing` are the first of the `differences` in what was asked about.
    """

    collection: str
    id: ObjectId
    version: int | None
    agrees: bool | None
    detail: str
    exists: bool = True
    differences: int = 0
    differing: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """One document that follows from a stream, `stored` as it is now, and how it is seen in the projection's fold."""

    collection: str
    projection: StreamProjection
    counted_by: SumProjection | None
    stored: Document | Unreadable | None

    @property
    def view(self) -> View:
        by = self.counted_by
        return dict if by is None else lambda record: counted_row(by, record)

    def why_unknown(self, path: str) -> str | None:
        """Which fields its events make, for a path that they never make; None for one that may be there.

        What others write beside them, as a contest or a sum does, is not made of this stream's events. In a shared
        collection the platform's documents may have other fields: what counts is the shape of the worker's own.
        """
        if self.counted_by is None:
            return why_unknown(self.projection.target.shapes, path, self.projection.paths)
        return why_unknown(self.counted_by.counted.shapes, path)

    @property
    def version(self) -> int | None:
        """The last event that the stored document has seen, by its own word."""
        return self._number("version" if self.counted_by is None else "last_event_version")

    @property
    def _made_by(self) -> int | None:
        return self._number("projection_version" if self.counted_by is None else "counts_version")

    def _number(self, name: str) -> int | None:
        found = self.stored.get(name) if isinstance(self.stored, Mapping) else None
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def standing(
        self, stream: str, last_version: int | None, folded: Document | None, twin: Twin, path: str
    ) -> Standing:
        """Held against its events, in what stands at the path.

        `last_version` is the stream's, None where its events cannot be folded to the end; `folded` is the fold of
        those up to the document's own version, None where there is none, and `twin` tells what of it is withheld.
        """
        code = self.projection.version if self.counted_by is None else self.counted_by.version

        def stands(agrees: bool | None, detail: str, found: Sequence[Difference] = ()) -> Standing:
            identity = stream_object_id(stream)
            shown = tuple(found[:MOST_DIFFERENCES])
            there = self.stored is not None
            return Standing(self.collection, identity, self.version, agrees, detail, there, len(found), shown)

        if self.stored is None and folded is not None and not self.projection.has_begun(folded):
            return stands(True, "there is none: no event has begun it yet")
        if self.stored is None:
            return stands(None if last_version == 0 else False, "there is no such document")
        if isinstance(self.stored, Unreadable):
            return stands(False, f"it cannot be read: {self.stored.reason}")
        if self.version is None:
            return stands(None, "it does not say which events it has seen")
        if self._made_by != code:
            return stands(None, f"it was made by version {self._made_by} of the code, this is version {code}")
        if last_version is not None and self.version > last_version:
            return stands(False, f"it says version {self.version}, the events end at {last_version}")
        if folded is None:
            return stands(None, f"the events cannot be folded up to its version {self.version}")
        found = self._differences(folded, twin, path)
        waiting = (last_version or self.version) - self.version
        behind = f"; behind: {counted(waiting, 'event')} not in it yet" if waiting else ""
        words = "as its events say" if not found else "not as its events say"
        return stands(not found, f"at version {self.version} {words}{behind}", found)

    def _differences(self, folded: Document, twin: Twin, path: str) -> list[Difference]:
        expected = self.view(folded)
        known = self.stored if isinstance(self.stored, dict) else {}
        stored = {name: value for name, value in known.items() if name in expected}
        if self.counted_by is None and (dotted := self.projection.dotted):
            # Of a field that is not all the projection's, only its parts.
            expected, stored = (nested(by_path(each, dotted)) for each in (expected, stored))
        was, now = value_at(expected, path), value_at(stored, path)
        fields = of_events(differing(was, now, path, alike=lambda one, other: same(other, one)))
        is_withheld = twin.withheld(self.view)
        return [_difference(name, value_at(expected, name), value, is_withheld) for name, value in fields]


async def documents_of(database: Database, stream: str) -> list[Explained]:
    """Every document of the stream, and the rows that count it, as they are stored. Nobody counts the canary's."""
    identity = {"_id": stream_object_id(stream)}
    found = []
    for projection in database.catalogue.streams:
        if not projection.folds(stream):
            continue
        counting = [
            each
            for each in database.catalogue.sums
            if each.source == projection.name and not is_reserved(stream)
        ]
        for by in (None, *counting):
            name = projection.target.collection if by is None else by.counted.collection
            stored = await reading.find_one(database.collection(name), identity)
            found.append(Explained(name, projection, by, stored))
    return found


def with_field(documents: Sequence[Explained], field: str) -> tuple[list[Explained], str]:
    """Those of the documents that can have the field, and its path in them; raises `UnknownField` if none can.

    The field may be named with its collection in front.
    """
    collection, _, rest = field.partition(".")
    named = [each for each in documents if each.collection == collection]
    path = rest if named else field
    why = {each.collection: each.why_unknown(path) if path else None for each in named or documents}
    having = [each for each in named or documents if why[each.collection] is None]
    if not having:
        there_are = "; ".join(f"in {name} {reason}" for name, reason in why.items())
        raise UnknownField(f"the events of this stream make no field {field}: {there_are}")
    return having, path


def _difference(name: str, folded: Any, stored: Any, is_withheld: Withheld) -> Difference:
    if is_withheld(name, folded) or is_nobodys(folded, stored):
        return Difference(name, None, None, personal=True)
    return Difference(name, _or_none(folded), _or_none(stored))


def _or_none(value: Any) -> Any:
    return None if value is ABSENT else value
