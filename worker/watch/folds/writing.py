"""Guarded writes of folded documents: a document changes only from the revision that was read."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import InsertOne, UpdateMany
from pymongo.errors import BulkWriteError

from projections.paths import ABSENT, at, nested
from projections.shared import SharingArray
from worker.contract.identity import stream_object_id
from worker.storage.arrays import StoredArray, encoded_array
from worker.storage.database import Collection, Document
from worker.storage.encoding import encoded, encoded_around
from worker.storage.errors import WriteFailure, translated, write_failures
from worker.watch.folds.fold import Failure, Folded, not_adopted, refused
from worker.watch.folds.plan import changed, number_in

Write = InsertOne[Document] | UpdateMany

# Of what somebody else wrote there the next one must fit into BSON.
_REVISIONS = 2**62
# `_id`, an ObjectId, and `rev`, which is 1, as BSON: of them alone the encoder would take 1 µs.
_FRONT = b"\x07_id\0%b\x10rev\0\1\0\0\0"


@dataclass(frozen=True, slots=True)
class Written:
    """`done` are certainly written by us, `current` ones were right as they stood, or are rightly not there.

    The latter have not begun, are over, or stand behind a document of the platform's own. `unproven` must be looked
    at again; `rejected` cannot be stored.
    """

    done: list[Folded] = field(default_factory=list)
    current: list[Folded] = field(default_factory=list)
    unproven: list[Folded] = field(default_factory=list)
    rejected: list[Failure] = field(default_factory=list)


def needs_write(folded: Folded) -> bool:
    """False where there is nothing to write: no event folded, no document yet, or one that has seen more events."""
    if folded.fields is None or not folded.count or folded.unbegun:
        return False
    document = folded.task.document
    if document is None or folded.task.replaces:
        return True
    return bool(folded.fields["version"] >= number_in(document, "version"))


async def write_all(
    collection: Collection, results: Sequence[Folded], *, unvalidated: bool = False
) -> Written:
    """Write what was folded in one unordered bulk. May run twice: `_id` and `rev` decide, and `rev` only grows.

    `unvalidated`: past the server's validator, which this user must be allowed to.
    """
    written = Written()
    writes: list[tuple[Folded, Write]] = []
    for folded in results:
        if folded.theirs:
            written.rejected.append(not_adopted(folded))
        elif not folded.begun:
            written.rejected.append(
                refused(folded, "none of its events begins the document that stands there")
            )
        elif is_current(folded):
            written.current.append(folded)
        elif (write := write_of(folded)) is not None:
            writes.append((folded, write))
        else:
            written.rejected.append(refused(folded, "a value of the document cannot be stored as BSON"))
    if not writes:
        return written
    failures: dict[int, WriteFailure] = {}
    try:
        with translated():
            result = await collection.bulk_write(
                [write for _, write in writes],
                ordered=False,
                bypass_document_validation=unvalidated or None,
            )
        matched = result.matched_count
    except BulkWriteError as error:
        failures = {failure.index: failure for failure in write_failures(error)}
        matched = error.details["nMatched"]
    updates = sum(1 for index, (_, write) in enumerate(writes) if _updates(write) and index not in failures)
    for index, (folded, write) in enumerate(writes):
        _sort_in(written, folded, failures.get(index), proven=not _updates(write) or matched == updates)
    return written


def is_current(folded: Folded) -> bool:
    """True for a doubted document that is what it must be: it keeps its revision."""
    document = folded.task.document or {}
    return _doubted(folded) and number_in(document, "rev") > 0 and not differing(folded)


def differing(folded: Folded) -> Document:
    """The owned paths in which the stored document is not what was folded; all of them where there is none."""
    stored, wanted = (folded.by_path(each or {}) for each in (folded.task.document, folded.fields))
    return changed(stored, wanted, exactly=_doubted(folded))


def _doubted(folded: Folded) -> bool:
    """True where the same fold made the document once, so that anything that differs is somebody else's."""
    document, fields = folded.task.document or {}, folded.fields or {}
    return folded.task.refold and document.get("projection_version") == fields["projection_version"]


def write_of(folded: Folded) -> Write | None:
    """The guarded write of a folded document, or None where BSON cannot hold it."""
    document, fields = folded.task.document, folded.fields or {}
    identity = stream_object_id(folded.task.stream)
    if document is None:
        new = _new(identity, fields)
        return None if new is None else InsertOne(new)  # type: ignore[arg-type]  # raw BSON is a document
    rev = document.get("rev")
    next_rev = max(0, number_in(document, "rev")) % _REVISIONS + 1
    update = encoded({**_settable(document, differing(folded)), "rev": next_rev})
    # "Many" finds one here. An UpdateOne may be repeated by the driver, for which the server keeps a number of each:
    # a fifth of the cost. Whoever follows the stream repeats it as well, and the guard makes that harmless.
    return None if update is None else UpdateMany({"_id": identity, "rev": {"$eq": rev}}, {"$set": update})


def _new(identity: ObjectId, fields: Document) -> RawBSONDocument | None:
    """A document's first revision. An array that others share goes to the front, where `cut_out` finds it at once."""
    large = next((name for name, value in fields.items() if type(value) is SharingArray), None)
    if large is None:
        return encoded({"_id": identity, "rev": 1, **fields})
    rest = fields.copy()
    array = encoded_array(rest.pop(large))
    return None if array is None else encoded_around(_FRONT % identity.binary, large, array, rest)


def _settable(document: Document, fields: Document) -> Document:
    """The same; a field whose parts cannot be set, because somebody has put no document there, as a whole."""
    barred = {path for path in fields if "." in path and not _has_parts(document, path)}
    if not barred:
        return fields
    return {path: value for path, value in fields.items() if path not in barred} | nested(
        {path: fields[path] for path in fields if path in barred}
    )


def _has_parts(document: Document, path: str) -> bool:
    outer = at(document, path.rpartition(".")[0])
    return outer is ABSENT or isinstance(outer, dict | StoredArray)


def _updates(write: Write) -> bool:
    return isinstance(write, UpdateMany)


def _sort_in(written: Written, folded: Folded, failure: WriteFailure | None, *, proven: bool) -> None:
    if failure is None:
        (written.done if proven else written.unproven).append(folded)
    elif failure.duplicate and "_id" in failure.key_pattern:
        written.unproven.append(folded)
    elif failure.duplicate and folded.yields_to in failure.key_pattern:
        written.current.append(folded)
    elif failure.duplicate:
        written.rejected.append(refused(folded, "another document has its key"))
    else:
        written.rejected.append(refused(folded, f"the server refused the document (code {failure.code})"))
