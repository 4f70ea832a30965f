"""Checks dead letters: each still has the bytes it was made of, and every part has its letter."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from worker.contract.identity import failure_fingerprint
from worker.storage import reading
from worker.storage.database import Database
from worker.storage.reading import Unreadable
from worker.timing import Clock
from worker.verify.findings import Finding, FindingKind, Tally, subject_of
from worker.verify.reading import PAGE_BYTES
from worker.verify.shapes import misfits, told

Letter = Mapping[str, Any]

_PAGE = 200
# What is being discarded, its parts first, is gone by then.
_SECOND_LOOK_S = 2.0
_PART = dict.fromkeys(("part_of", "part", "of", "created_at", "kind"), 1)


class Content(NamedTuple):
    """Bytes a letter must have: inline, or in so many parts; None for what it does not say."""

    of: str
    parts: int
    size_bytes: int | None
    sha256: bytes | None
    inline: bytes | None


@dataclass(slots=True)
class LettersCheck:
    """One run. What is younger than `young_since` may be about to be completed."""

    database: Database
    tally: Tally
    clock: Clock
    settled: bool
    young_since: datetime
    _suspects: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """1. letters and their bytes  2. parts of no letter  3. a second look at those that seem wrong."""
        await self._letters()  # 1
        await self._parts()  # 2
        if self._suspects and not self.settled:
            await self.clock.sleep(_SECOND_LOOK_S)
        for name in self._suspects:  # 3
            await self._look_again(name)

    async def _letters(self) -> None:
        async for page in self._pages({"kind": {"$ne": "part"}}, None):
            self.tally.unreadable(page.unreadable)
            for letter in page.documents:
                self._count(letter)
                with self.tally.guard("dead_letters", letter):
                    faults = list(letter_faults(letter))
                    self.tally.report(faults)
                    if not faults and await self._damage(letter):
                        self._suspects.append(letter["_id"])

    async def _parts(self) -> None:
        async for page in self._pages({"kind": "part"}, _PART):
            self.tally.unreadable(page.unreadable)
            letters = await self._letters_of(page.documents)
            for part in page.documents:
                if not isinstance(part["_id"], str):
                    subject, detail = subject_of("dead_letters", part), "a part without a name"
                    self.tally.report([Finding(FindingKind.DOCUMENT_MALFORMED, subject, detail)])
                elif not _has_place(part, letters.get(str(part.get("part_of")))):
                    self._suspects.append(part["_id"])

    async def _look_again(self, name: str) -> None:
        found = await reading.find_one(self.database.dead_letters, {"_id": name})
        if found is None or isinstance(found, Unreadable):
            return
        if found["kind"] == "part":
            letters = await self._letters_of([found])
            placed = _has_place(found, letters.get(str(found.get("part_of"))))
            kind, detail = FindingKind.DEAD_LETTER_PART_UNKNOWN, None if placed else "a part of no letter"
        else:
            kind, detail = FindingKind.DEAD_LETTER_DAMAGED, await self._damage(found)
        if detail is None:
            return
        young = isinstance(found.get("created_at"), datetime) and found["created_at"] >= self.young_since
        if young and not self.settled:
            self.tally.counts["in_flight"] += 1
        else:
            self.tally.report([Finding(kind, f"dead_letters {name}", detail)])

    def _count(self, letter: Letter) -> None:
        if letter.get("kind") == "gap":
            self.tally.counts["gap_records"] += 1
        else:
            reasons, reason = self.tally.dead_letter_reasons, str(letter.get("reason"))
            reasons[reason] = reasons.get(reason, 0) + 1

    async def _damage(self, letter: Letter) -> str | None:
        """How the letter's bytes differ from what it says of them."""
        if letter["kind"] != "record" or letter.get("without_bytes"):
            return None
        for content in contents(letter):
            if (damage := await self._differs(str(letter["_id"]), content)) is not None:
                return damage
        return None

    async def _differs(self, name: str, content: Content) -> str | None:
        hashed, size_bytes = hashlib.sha256(content.inline or b""), len(content.inline or b"")
        for number in range(1, content.parts + 1):
            part_id = f"{name}#{'' if content.of == 'value' else content.of}{number}"
            part = await reading.find_one(self.database.dead_letters, {"_id": part_id, "kind": "part"})
            if part is None or isinstance(part, Unreadable):
                return f"part {number} of its {content.of} is absent"
            if misfits("dead_letters", part) or (part["part_of"], part["part"]) != (name, number):
                return f"part {number} of its {content.of} is another"
            hashed.update(part["value"])
            size_bytes += len(part["value"])
        if content.size_bytes is not None and size_bytes != content.size_bytes:
            return f"its {content.of} has another size"
        if content.sha256 is not None and hashed.digest() != content.sha256:
            return f"its {content.of} does not match the checksum"
        return None

    async def _letters_of(self, parts: Sequence[Letter]) -> dict[str, Letter]:
        """What letters say of their parts, by id."""
        wanted = {"_id": {"$in": list({str(part.get("part_of")) for part in parts})}, "kind": {"$ne": "part"}}
        paths = dict.fromkeys(("parts", "key_parts", "headers_parts", "without_bytes"), 1)
        found = await reading.find(self.database.dead_letters, wanted, paths)
        return {str(letter["_id"]): letter for letter in found.documents}

    def _pages(self, query: Mapping[str, Any], paths: Mapping[str, int] | None) -> Any:
        return reading.pages(self.database.dead_letters, query, paths, most=_PAGE, max_bytes=PAGE_BYTES)


async def restarted_partitions(database: Database) -> frozenset[tuple[str, int]]:
    """Partitions whose log was deleted and made anew, as the worker noticed and noted."""
    gaps = await reading.find(
        database.dead_letters, {"kind": "gap", "reason": "log_restarted"}, {"topic": 1, "partition": 1}
    )
    named = ((gap.get("topic"), gap.get("partition")) for gap in gaps.documents)
    return frozenset(
        (topic, partition)
        for topic, partition in named
        if isinstance(topic, str) and isinstance(partition, int)
    )


def letter_faults(letter: Letter) -> Iterator[Finding]:
    """What is wrong with a letter by itself, its bytes aside."""
    subject = subject_of("dead_letters", letter)
    if paths := misfits("dead_letters", letter):
        yield Finding(FindingKind.DOCUMENT_MALFORMED, subject, told(paths))
        return
    wrong = [detail for detail, broken in _rules(letter) if broken]
    if wrong:
        yield Finding(FindingKind.DEAD_LETTER_DAMAGED, subject, "; ".join(wrong))


def _rules(letter: Letter) -> Iterator[tuple[str, bool]]:
    gap = letter["gap"]
    yield "its key is not that of its position and bytes", letter["_id"] != _name(letter)
    known = failure_fingerprint(letter["step"], letter["reason"], letter["field"])
    yield "its fingerprint is not that of its failure", letter["fingerprint"] != known
    yield "redrives without a date", (letter["redrives"] > 0) != (letter.get("redriven_at") is not None)
    yield "a gap without offsets", (letter["kind"] == "gap") != (gap is not None)
    yield "offsets that end before they begin", bool(gap) and gap["first_offset"] > gap["last_offset"]


def _name(letter: Letter) -> str:
    position = f"{letter['topic']}:{letter['partition']}"
    if letter["gap"] is not None:
        return f"{position}:{letter['gap']['first_offset']}-{letter['gap']['last_offset']}:{letter['reason']}"
    return f"{position}:{letter['offset']}:{(letter['payload_sha256'] or b'').hex()[:16]}"


def contents(letter: Letter) -> Iterator[Content]:
    """What a record's letter says of the bytes it keeps."""
    yield Content("value", letter["parts"], letter["size_bytes"], letter["payload_sha256"], letter["value"])
    for of in ("key", "headers"):
        if letter.get(f"{of}_parts"):
            sha256, size_bytes = letter.get(f"{of}_sha256"), letter.get(f"{of}_size_bytes")
            yield Content(of, letter[f"{of}_parts"], size_bytes, sha256, None)


def _has_place(part: Letter, letter: Letter | None) -> bool:
    """The letter has so many parts. One that was kept without its bytes may have left some behind."""
    if letter is None:
        return False
    number, of = part.get("part"), part.get("of")
    named = letter.get("parts" if of is None else f"{of}_parts")
    within = isinstance(number, int) and isinstance(named, int) and 0 < number <= named
    return within or bool(letter.get("without_bytes"))
