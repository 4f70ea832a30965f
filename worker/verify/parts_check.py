"""Checks that the parts of streams are what the events say, and that a document names each of them.

A document is read before its parts: they are written first, so that none of those it names can be missing, and one
that is ahead of it is about to be named. Whatever looks wrong is looked at again with the document as it is by then.
"""

from collections.abc import Mapping, Sequence
from contextlib import aclosing

from projections.kinds import Parts, StreamProjection
from worker.contract.identity import stream_object_id
from worker.storage.database import Document
from worker.storage.reading import Reading, Unreadable, find, find_one, name_of
from worker.storage.skipped_versions import skips_of
from worker.storage.stream_parts import PLACED, PartsFailed, make_parts
from worker.verify import reading
from worker.verify.findings import Fault, Finding, Run, differs
from worker.verify.sameness import differing

# Documents that name parts are small.
_DOCUMENTS_AT_ONCE = 100
# A document that moves is looked at anew, so often; then the next run sees it.
_LOOKS = 3


async def check_parts(run: Run, projection: StreamProjection, parts: Parts) -> None:
    """Put into the run's tally what is wrong. Only reads; one part is in memory at a time.

    1. each document with the parts that it names, made of its events again  2. each part, whether it is named.
    """
    check = _PartsCheck(run, projection, parts)
    documents = run.database.collection(projection.target.collection)
    async for page in reading.pages(
        documents, {}, check.paths, most=_DOCUMENTS_AT_ONCE, sort=[("_id", 1)]
    ):  # 1
        for document in page.documents:  # an unreadable one has a finding of its own
            with run.tally.guard(page.collection, document["_id"]):
                await check.document(document)
    claims = dict.fromkeys(PLACED, 1)
    stored = run.database.collection(parts.target.collection)
    async for page in reading.pages(stored, {}, claims, sort=[("_id", 1)]):  # 2
        await check.named(page)


class _PartsCheck:
    def __init__(self, run: Run, projection: StreamProjection, parts: Parts) -> None:
        self._run = run
        self._projection = projection
        self._parts = parts
        self._documents = run.database.collection(projection.target.collection)
        self._stored = run.database.collection(parts.target.collection)
        self.paths = dict.fromkeys((*projection.paths, "rev"), 1)

    async def document(self, document: Document) -> None:
        """Compare the parts of a document with what its events make; those of another version's fold are not."""
        for _ in range(_LOOKS):
            if document.get("projection_version") != self._projection.version:
                return
            if not (findings := await self._compared(document)):
                return
            found = await find_one(self._documents, {"_id": document["_id"]}, self.paths)
            if not isinstance(found, dict):
                return
            if found.get("rev") == document.get("rev"):
                self._run.tally.report(findings)
                return
            document = found

    async def _compared(self, document: Document) -> list[Finding]:
        named = self._parts.named(document)
        skips = await skips_of(self._run.database, self._projection.name, [document["stream_id"]])
        findings: list[Finding] = []
        left = set(named)
        made = make_parts(self._run.database, self._projection, document, named.keys(), skips)
        try:
            async with aclosing(made) as parts:
                async for part in parts:
                    left.discard(part["_id"])
                    stored = await find_one(self._stored, {"_id": part["_id"]})
                    findings += self._audited(document, part, stored)
        except PartsFailed as failed:
            detail = f"{failed} at version {failed.event.get('version')}, of which a part is made"
            return [*findings, self._finding(Fault.FOLD_FAILED, document, detail)]
        return [
            *findings,
            *(
                self._finding(Fault.MISSING, document, f"no event makes part {name_of(each)}")
                for each in left
            ),
        ]

    def _audited(
        self, document: Document, part: Document, stored: Document | Unreadable | None
    ) -> Sequence[Finding]:
        name = name_of(part["_id"])
        if stored is None:
            return [self._finding(Fault.MISSING, document, f"part {name} is not there")]
        if isinstance(stored, Unreadable):
            return [self._finding(Fault.DIFFERENT, document, f"part {name} cannot be read: {stored.reason}")]
        if stored.get("projection_version") != self._projection.version:
            newer = _number(stored, "projection_version") > self._projection.version
            detail = f"part {name} was made by projection version {_number(stored, 'projection_version')}"
            return [] if newer else [self._finding(Fault.DIFFERENT, document, detail)]
        if (
            _number(stored, "event_version") > document["version"]
        ):  # it is about to be named, if anybody is at work
            detail = f"part {name} is of version {_number(stored, 'event_version')}"
            return [self._finding(Fault.AHEAD, document, detail)] if self._run.grace.quiescent else []
        wrong = [*differing(part, stored), *(stored.keys() - part.keys() - {"rev"})]
        what = f"part {name} differs from its events in"
        return [*differs(self._projection.name, document["stream_id"], what, wrong)]

    async def named(self, page: Reading) -> None:
        """Report the parts that no document names, but for those that are about to be named.

        Of one that nobody can read is reported that; what names it has a finding of its own.
        """
        counts = self._run.tally.by_projection[self._projection.name]
        counts.parts += len(page.documents) + len(page.unreadable)
        streams = {each["stream_id"] for each in page.documents if isinstance(each.get("stream_id"), str)}
        for each in self._run.tally.readable(page):
            if not isinstance(each.get("stream_id"), str):
                self._unknown(each, str(each.get("stream_id")))
        identities: dict[object, str] = {stream_object_id(stream): stream for stream in streams}
        found = await find(self._documents, {"_id": {"$in": list(identities)}}, self.paths)
        documents = {identities[document["_id"]]: document for document in found.documents}
        unread = {identities.get(each.id) for each in found.unreadable}
        for each in page.documents:
            stream = each.get("stream_id")
            if isinstance(stream, str) and stream not in unread:
                with self._run.tally.guard(page.collection, each["_id"]):
                    self._place(each, stream, documents.get(stream))

    def _place(self, part: Document, stream: str, document: Document | None) -> None:
        """Whether its document names a part. One that is newer than its document is about to be named."""
        quiescent = self._run.grace.quiescent
        if document is None:
            if quiescent:
                self._unknown(part, stream)
            return
        if document.get("projection_version") != self._projection.version:
            return
        if part["_id"] in self._parts.named(document):
            return
        if quiescent or _number(part, "event_version") <= document["version"]:
            detail = f"part {name_of(part['_id'])} is named by no document"
            self._run.tally.report([Finding(self._projection.name, Fault.DIFFERENT, stream, detail)])

    def _unknown(self, part: Document, stream: str) -> None:
        detail = f"part {name_of(part['_id'])} belongs to no document"
        self._run.tally.report([Finding(self._projection.name, Fault.UNKNOWN, stream, detail)])

    def _finding(self, fault: Fault, document: Mapping[str, object], detail: str) -> Finding:
        return Finding(self._projection.name, fault, str(document["stream_id"]), detail)


def _number(document: Mapping[str, object], name: str) -> int:
    """An integer that only we write; 0 where somebody put something else there."""
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
