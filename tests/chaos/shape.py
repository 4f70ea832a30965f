"""What a command to MongoDB does, in words that are the same in every run: collection, family of ids, fields.

`leases/partition/inc.burns` is an update of a partition's lease that counts a burn, `course_events/void` an insert
of voids. A command that does several things has several shapes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

# What changes nothing. A command that is not known here counts as a write: better one crash too many.
READS = frozenset(
    {
        *("find", "getMore", "aggregate", "count", "distinct", "killCursors"),
        *("hello", "isMaster", "ismaster", "ping", "buildInfo", "getParameter", "getCmdLineOpts", "hostInfo"),
        *("connectionStatus", "saslStart", "saslContinue"),
        *("listCollections", "listIndexes", "listDatabases", "serverStatus", "replSetGetStatus"),
    }
)
# Small documents of the worker's own, of which each step writes its own few fields.
_FIELDS_TELL = frozenset({"leases", "projection_state", "analytics_queue", "notifications"})
# Documents that several steps write, by the fields of each; a fold's write is the one that raises the revision.
_STEPS: Mapping[str, str] = {
    "rev": "fold",
    "stats": "stats",
    "instructor.social_proof": "proof",
    **dict.fromkeys(("slug", "email", "username", "effective", "reason"), "decision"),
}
_STEPS_TELL = frozenset({"courses", "users", "content_relationships"})
# Collections that several steps share, told apart by the beginning of the id: `progress:03`, `member:retry:...`.
_IDS_TELL = frozenset({"leases", "projection_state"})
_TWO_WORDS = frozenset({"member", "counts"})
# What is built beside a collection has a name of the caller's.
_BUILT = re.compile(r"__\w+$")
_WORD = re.compile(r"[a-z]+")
# More words in a name would tell nobody more.
_MOST_FIELDS = 8


def is_write(command: str) -> bool:
    """Whether a command may change something."""
    return command not in READS


def shapes(name: str, command: Mapping[str, Any]) -> frozenset[str]:
    """All shapes of one command; the name of its collection, or nothing but "1", is always among them."""
    collection = command.get(name)
    if not isinstance(collection, str):
        return frozenset({"1"})
    collection = _BUILT.sub("__built", collection)
    return frozenset({collection, *(f"{collection}/{each}" for each in _details(name, collection, command))})


def narrowest(found: frozenset[str]) -> list[str]:
    """Of the shapes of one command those that say most, in order."""
    return sorted(each for each in found if not any(other.startswith(f"{each}/") for other in found))


def _details(name: str, collection: str, command: Mapping[str, Any]) -> Iterator[str]:
    if name == "insert" and collection == "course_events":
        yield _kind_of_events(command.get("documents", ()))
    elif name == "update":
        for each in command.get("updates", ()):
            yield _joined(collection, each["q"], each["u"], upsert=bool(each.get("upsert")))
    elif name in ("findAndModify", "findandmodify"):
        upsert = bool(command.get("upsert"))
        yield _joined(collection, command["query"], command.get("update", {}), upsert=upsert)
    elif name == "delete":
        for each in command.get("deletes", ()):
            yield _joined(collection, each["q"], {}, upsert=False)


def _kind_of_events(documents: Sequence[Mapping[str, Any]]) -> str:
    """Holes that are filled, and payments that the worker takes from enrolments, are inserted apart from the rest."""
    if {document["event_type"] for document in documents} == {"void"}:
        return "void"
    details = [document.get("event_data", {}).get("details", {}) for document in documents]
    return "payment" if details and all("enrolment_id" in each for each in details) else "event"


def _joined(collection: str, query: Mapping[str, Any], update: Any, *, upsert: bool) -> str:
    parts = [*_family(collection, query), _change(collection, update), "upsert" if upsert else ""]
    return "/".join(part for part in parts if part) or "all"


def _family(collection: str, query: Mapping[str, Any]) -> Sequence[str]:
    """The word or two an id begins with; the id of the first alternative where there are several."""
    if collection not in _IDS_TELL:
        return ()
    alternatives: Sequence[Mapping[str, Any]] = [query] if "_id" in query else query.get("$or") or [{}]
    identity = alternatives[0].get("_id")
    if isinstance(identity, Mapping):
        identity = identity.get("$gte") or next(iter(identity.get("$in", ())), None)
    if not isinstance(identity, str):
        return ()
    words = list(takewhile(_WORD.fullmatch, identity.split(":")[:-1]))
    return words[: 2 if words and words[0] in _TWO_WORDS else 1]


def _change(collection: str, update: Any) -> str:
    """Operators, with the names of the fields where they tell steps apart."""
    stages: Sequence[Mapping[str, Any]] = [update] if isinstance(update, Mapping) else update
    words = []
    for stage in stages:
        for operator, fields in sorted(stage.items()):
            if not operator.startswith("$"):
                return "replace"
            names = _names(collection, fields) if isinstance(fields, Mapping) else []
            more = len(names) - _MOST_FIELDS
            words.append(
                ".".join([operator[1:], *names[:_MOST_FIELDS], *([f"and-{more}-more"] if more > 0 else [])])
            )
    return "+".join(dict.fromkeys(words))


def _names(collection: str, fields: Mapping[str, Any]) -> Sequence[str]:
    """The fields that tell steps apart, or the steps that they tell."""
    if collection in _STEPS_TELL:
        steps = (step for name, step in _STEPS.items() if any(_is_within(each, name) for each in fields))
        return sorted(set(steps))
    return sorted(fields) if collection in _FIELDS_TELL else []


def _is_within(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}.")
