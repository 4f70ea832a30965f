"""The change stream of sums and read models: which documents moved, and which show sums that somebody wrote to.

One stream over the whole content database, so that one token says how far everything is. Of a document of a source
every change matters; of one that shows a sum that it appears or is replaced, and what its projection's own rules say.
A collection that is dropped, or put in place of another by a rename (as `$out` does), ends the stream: everything is
compared.
"""

from collections.abc import Iterable, Set

from worker.storage.database import Document
from worker.storage.leases import Token


def what_moved(
    home: str, after: Token | None, sources: Set[str], shown: Set[str], rules: Iterable[Document]
) -> list[Document]:
    """The pipeline over the content database `home`; `rules` match changes with their `names` and `session`.

    Which collection first: the server asks this of every entry of the oplog, and of few entries the rest. It is asked
    by the whole namespace, which is compared; for `ns.coll` alone the server would match a pattern for each.
    """
    # startAfter, not resumeAfter: it also takes the token of an invalidated stream.
    start: Document = {} if after is None else {"startAfter": dict(after)}
    watched = sorted(sources | shown)
    return [
        {"$changeStream": start},
        # A rename is named after the collection that goes, and so is what `$out` does at its end.
        {
            "$match": {
                "$or": [
                    {"ns": {"$in": [{"db": home, "coll": each} for each in watched]}},
                    {"operationType": {"$in": ["rename", "dropDatabase"]}},
                ]
            }
        },
        {
            "$project": {
                "operationType": 1,
                "collection": "$ns.coll",
                "onto": "$to.coll",
                "session": "$lsid.id",
                "identity": "$documentKey._id",
                "names": {"$cond": [{"$in": ["$ns.coll", sorted(sources)]}, [], _NAMES]},
            }
        },
        {
            "$match": {
                "$or": [
                    {"collection": {"$in": sorted(sources)}, "operationType": {"$in": _EVERY}},
                    {"collection": {"$in": sorted(shown)}, "operationType": {"$in": ["insert", "replace"]}},
                    {"collection": {"$in": watched}, "operationType": {"$in": ["drop", "rename"]}},
                    {"operationType": "rename", "onto": {"$in": watched}},
                    {"operationType": "dropDatabase"},
                    *rules,
                ]
            }
        },
        {"$unset": ["onto", "session", "names"]},
    ]


def updated(collection: str, names: str) -> Document:
    """The rule for an update that set or removed one of the paths that the expression matches."""
    return {"collection": collection, "operationType": "update", "names": {"$regex": f"(?s)^({names})$"}}


def _of_array(array: Document | str, field: str) -> Document:
    return {"$map": {"input": array, "in": f"$$this.{field}"}}


def _or_empty(path: str, empty: object) -> Document:
    return {"$ifNull": [f"$updateDescription.{path}", empty]}


_EVERY = ["insert", "update", "replace", "delete"]
# The paths an update set, removed, or cut short, each as one dotted name; their values stay on the server.
_NAMES: Document = {
    "$concatArrays": [
        _of_array({"$objectToArray": _or_empty("updatedFields", {})}, "k"),
        _or_empty("removedFields", []),
        _of_array(_or_empty("truncatedArrays", []), "field"),
    ]
}
