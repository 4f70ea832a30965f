"""Checks dead letters: each still has the bytes it was made of, and every part belongs to a dead letter."""

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from worker.contract.identity import failure_fingerprint
from worker.storage import reading
from worker.storage.database import Database
from worker.storage.reading import Unreadable
from worker.verify.findings import Fault, Finding, Kind, Run, broken, subject_of
from worker.verify.reading import pages
from worker.verify.shapes import misfits

DeadLetter = Mapping[str, Any]

_PAGE = 200
# What is being discarded, its parts first, is gone by then.
_SECOND_LOOK_S = 2.0
_PART = dict.fromkeys(("part_of", "part", "of", "created_at", "kind"), 1)


async def check_dead_letters(run: Run) -> None:
    """Put into the run's tally what is wrong with dead letters, their bytes and their parts.

    1. dead letters and their bytes  2. parts without one  3. a second look at those that seem wrong
    """
    suspects = [name async for name in _damaged(run)]  # 1
    suspects += [name async for name in _without_place(run)]  # 2
    if suspects and not run.grace.quiescent:
        await run.clock.sleep(_SECOND_LOOK_S)
    for name in suspects:  # 3
        await _look_again(run, name)


async def _damaged(run: Run) -> AsyncIterator[str]:
    """Reports what is wrong with dead letters by themselves, and gives those whose bytes are."""
    tally = run.tally
    async for page in pages(run.database.dead_letters, {"kind": {"$ne": "part"}}, most=_PAGE):
        for dead_letter in page.documents:
            if dead_letter.get("kind") == "gap":
                tally.counts["gap_records"] += 1
            else:
                tally.dead_letter_reasons[str(dead_letter.get("reason"))] += 1
        for dead_letter in tally.well_formed(page):
            with tally.guard("dead_letters", dead_letter["_id"]):
                subject = subject_of("dead_letters", dead_letter)
                findings = list(broken(Kind.DEAD_LETTER, Fault.DAMAGED, subject, _rules(dead_letter)))
                tally.report(findings)
                if not findings and await _damage(run.database, dead_letter):
                    yield dead_letter["_id"]


async def _without_place(run: Run) -> AsyncIterator[str]:
    async for page in pages(run.database.dead_letters, {"kind": "part"}, _PART, most=_PAGE):
        dead_letters = await _dead_letters_of(run.database, page.documents)
        for part in run.tally.readable(page):
            if not isinstance(part["_id"], str):
                subject, detail = subject_of("dead_letters", part), "a part without a name"
                run.tally.report([Finding(Kind.DOCUMENT, Fault.MALFORMED, subject, detail)])
            elif not _has_place(part, dead_letters):
                yield part["_id"]


async def _look_again(run: Run, name: str) -> None:
    """What is being discarded is gone by now; what is younger than the grace allows may be about to be completed."""
    found = await reading.find_one(run.database.dead_letters, {"_id": name})
    if found is None or isinstance(found, Unreadable):
        return
    if found["kind"] != "part":
        kind, fault, detail = Kind.DEAD_LETTER, Fault.DAMAGED, await _damage(run.database, found)
    else:
        placed = _has_place(found, await _dead_letters_of(run.database, [found]))
        kind, fault, detail = (
            Kind.DEAD_LETTER_PART,
            Fault.UNKNOWN,
            None if placed else "a part of no dead letter",
        )
    if detail:
        finding = Finding(kind, fault, f"dead_letters {name}", detail, found.get("created_at"))
        run.tally.report_unless_young([finding], run.grace)


async def _damage(database: Database, dead_letter: DeadLetter) -> str | None:
    """How the dead letter's bytes differ from what it says of them: those it holds, or so many parts."""
    if dead_letter["kind"] != "record" or dead_letter.get("without_bytes"):
        return None
    held = (dead_letter["parts"], dead_letter["size_bytes"], dead_letter["payload_sha256"])
    damage = await _differs(database, dead_letter, "value", *held)
    for of in ("key", "headers"):
        if damage is None and dead_letter.get(f"{of}_parts"):
            said: list[Any] = [dead_letter.get(f"{of}_{what}") for what in ("parts", "size_bytes", "sha256")]
            damage = await _differs(database, dead_letter, of, *said)
    return damage


async def _differs(
    database: Database,
    dead_letter: DeadLetter,
    of: str,
    parts: int,
    size_bytes: int | None,
    sha256: bytes | None,
) -> str | None:
    """None stands for a size or a checksum that the dead letter does not say."""
    name, inline = str(dead_letter["_id"]), dead_letter["value"] or b"" if of == "value" else b""
    hashed, read_bytes = hashlib.sha256(inline), len(inline)
    for number in range(1, parts + 1):
        part_id = f"{name}#{'' if of == 'value' else of}{number}"
        part = await reading.find_one(database.dead_letters, {"_id": part_id, "kind": "part"})
        if part is None or isinstance(part, Unreadable):
            return f"part {number} of its {of} is absent"
        if misfits("dead_letters", part) or (part["part_of"], part["part"]) != (name, number):
            return f"part {number} of its {of} is another"
        hashed.update(part["value"])
        read_bytes += len(part["value"])
    if size_bytes is not None and read_bytes != size_bytes:
        return f"its {of} has another size"
    if sha256 is not None and hashed.digest() != sha256:
        return f"its {of} does not match the checksum"
    return None


async def _dead_letters_of(database: Database, parts: Sequence[DeadLetter]) -> dict[str, DeadLetter]:
    """What dead letters say of their parts, by id."""
    wanted = {"_id": {"$in": list({str(part.get("part_of")) for part in parts})}, "kind": {"$ne": "part"}}
    paths = dict.fromkeys(("parts", "key_parts", "headers_parts", "without_bytes"), 1)
    found = await reading.find(database.dead_letters, wanted, paths)
    return {str(dead_letter["_id"]): dead_letter for dead_letter in found.documents}


async def restarted_partitions(database: Database) -> frozenset[tuple[str, int]]:
    """Partitions whose log was deleted and made again, as the worker noticed and noted."""
    wanted, paths = {"kind": "gap", "reason": "log_restarted"}, {"topic": 1, "partition": 1}
    gaps = await reading.find(database.dead_letters, wanted, paths)
    return frozenset(gaps.through(lambda gap: (str(gap["topic"]), int(gap["partition"]))).values)


def _rules(dead_letter: DeadLetter) -> Iterator[tuple[str, bool]]:
    """What must hold of a well-formed dead letter, its bytes aside."""
    gap = dead_letter["gap"]
    named = f"{dead_letter['_id']}:".startswith(
        f"{_name(dead_letter)}:"
    )  # behind it the place within the record
    yield "its key is not that of its position and bytes", not named
    known = failure_fingerprint(dead_letter["step"], dead_letter["reason"], dead_letter["field"])
    yield "its fingerprint is not that of its failure", dead_letter["fingerprint"] != known
    redriven = dead_letter.get("redriven_at") is not None
    yield "redrives without a date", (dead_letter["redrives"] > 0) != redriven
    yield "a gap without offsets", (dead_letter["kind"] == "gap") != (gap is not None)
    yield "offsets that end before they begin", bool(gap) and gap["first_offset"] > gap["last_offset"]


def _name(dead_letter: DeadLetter) -> str:
    position, gap = f"{dead_letter['topic']}:{dead_letter['partition']}", dead_letter["gap"]
    if gap is not None:
        return f"{position}:{gap['first_offset']}-{gap['last_offset']}:{dead_letter['reason']}"
    return f"{position}:{dead_letter['offset']}:{(dead_letter['payload_sha256'] or b'').hex()[:16]}"


def _has_place(part: DeadLetter, dead_letters: Mapping[str, DeadLetter]) -> bool:
    """Its dead letter has so many parts. One that was kept without its bytes may have left some behind."""
    dead_letter = dead_letters.get(str(part.get("part_of")))
    if dead_letter is None:
        return False
    number, of = part.get("part"), part.get("of")
    named = dead_letter.get("parts" if of is None else f"{of}_parts")
    within = isinstance(number, int) and isinstance(named, int) and 0 < number <= named
    return within or bool(dead_letter.get("without_bytes"))
