"""The change stream of counting: which records moved, and which courses and users must be rebuilt.

One stream over the whole content database, so that one token says how far everything is. A course or user is
rebuilt when its document appears or is replaced, when somebody else writes to the worker's fields of `stats`
or to the activity log, however (the platform's own enrolment may, or an ORM that saves what it loaded a minute
ago), when a course changes its instructor, and when a course is deleted (its instructor loses it). A collection
that is dropped, or put in place of another by a rename (as `$out` does), ends the stream: everything is compared.

Our own writes come back, too. They are told by the session of our transactions, whatever they set: a document
that somebody overwrote wakes us even where it looks like ours.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from typing import Any
from uuid import UUID

from bson import ObjectId
from bson.binary import Binary

from projections.counts import Counted, course_stats, user_stats
from worker.storage.database import Document
from worker.storage.leases import Token
from worker.watch.sums.counting import DirtyKeys

_RECORDS, _COURSES, _USERS = "user_progress", "courses", "users"


def dirty_keys(changes: Sequence[Mapping[str, Any]]) -> DirtyKeys:
    """The projected changes by collection, each document once."""
    moved: dict[str, set[ObjectId]] = {_RECORDS: set(), _COURSES: set(), _USERS: set()}
    for change in changes:
        identity = change["identity"]
        if isinstance(identity, ObjectId) and change["collection"] in moved:
            moved[change["collection"]].add(identity)
    return DirtyKeys(frozenset(moved[_RECORDS]), frozenset(moved[_COURSES]), frozenset(moved[_USERS]))


def moved_in(changes: Sequence[Mapping[str, Any]], collections: Iterable[str]) -> dict[str, set[Any]]:
    """By collection the documents that the changes are about."""
    moved: dict[str, set[Any]] = {name: set() for name in collections}
    for change in changes:
        if change["collection"] in moved and isinstance(change["identity"], Hashable):
            moved[change["collection"]].add(change["identity"])
    return moved


def records_and_statistics(
    after: Token | None, own: Iterable[UUID], sources: Set[str] = frozenset(), shown: Set[str] = frozenset()
) -> list[Document]:
    """The pipeline over the content database; `own` are the sessions whose transactions are ours.

    `sources` are collections of which every change matters, `shown` those of the platform in which one matters that
    makes a document or replaces it.

    Which collection first: the server asks this of every entry of the oplog, and of few entries the rest.
    """
    # startAfter, not resumeAfter: it also takes the token of an invalidated stream.
    start: Document = {} if after is None else {"startAfter": dict(after)}
    concerned = {"ns.coll": {"$in": [_RECORDS, _COURSES, _USERS, *sorted(sources | shown)]}}
    return [
        {"$changeStream": start},
        # A rename is named after the collection that goes, and so is what `$out` does at its end.
        {"$match": {"$or": [concerned, {"operationType": {"$in": ["rename", "dropDatabase"]}}]}},
        {
            "$project": {
                "operationType": 1,
                "collection": "$ns.coll",
                "onto": "$to.coll",
                "session": "$lsid.id",
                "identity": "$documentKey._id",
                "names": {"$cond": [{"$eq": ["$ns.coll", _RECORDS]}, [], _NAMES]},
            }
        },
        {"$match": {"$or": _wanted(own, sorted(sources), sorted(shown))}},
        {"$unset": ["onto", "session", "names"]},
    ]


def _of_array(array: Document | str, field: str) -> Document:
    return {"$map": {"input": array, "in": f"$$this.{field}"}}


def _or_empty(path: str, empty: Any) -> Document:
    return {"$ifNull": [f"$updateDescription.{path}", empty]}


# The paths an update set, removed, or cut short, each as one dotted name; their values stay on the server.
_NAMES: Document = {
    "$concatArrays": [
        _of_array({"$objectToArray": _or_empty("updatedFields", {})}, "k"),
        _or_empty("removedFields", []),
        _of_array(_or_empty("truncatedArrays", []), "field"),
    ]
}
_SUMMED = [_COURSES, _USERS]
_EVERY = ["insert", "update", "replace", "delete"]
_OURS = {_COURSES: course_stats(Counted()), _USERS: user_stats(Counted(), Counted())}


def _wanted(own: Iterable[UUID], sources: list[str], shown: list[str]) -> list[Document]:
    by_others = {"session": {"$nin": [Binary.from_uuid(each) for each in own]}}
    return [
        {"collection": {"$in": [_RECORDS, *sources]}, "operationType": {"$in": _EVERY}},
        {"collection": {"$in": [*_SUMMED, *shown]}, "operationType": {"$in": ["insert", "replace"]}},
        {"collection": _COURSES, "operationType": "delete"},
        _updated(_COURSES, r"instructor_id|instructor(\.user_id)?"),
        {**_updated(_COURSES, _shown(_COURSES)), **by_others},
        {**_updated(_USERS, _shown(_USERS)), **by_others},
        {**_updated(_USERS, r"activity_log(\..+)?"), **by_others},
        {"operationType": {"$in": ["drop", "rename"]}, "collection": {"$in": [_RECORDS, *_SUMMED, *sources]}},
        {"operationType": "rename", "onto": {"$in": [_RECORDS, *_SUMMED]}},
        {"operationType": "dropDatabase"},
    ]


def _updated(collection: str, names: str) -> Document:
    """An update that set or removed one of the paths that the expression matches."""
    return {"collection": collection, "operationType": "update", "names": {"$regex": f"(?s)^({names})$"}}


def _shown(collection: str) -> str:
    """`stats` as a whole, or one of the worker's fields of it, or a part of one."""
    return rf"stats(\.({'|'.join(sorted(_OURS[collection]))})(\..+)?)?"
