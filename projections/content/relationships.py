"""`content_relationships`: what is shown below what.

Relationships of one kind may close a cycle, which no stream shows by itself. `content_cycles` decides over all of
them, in the order (occurred_at, event_id) in which they were made: one that closes a cycle with earlier ones that
stand gives way. Its document says so, and no other one depends on it. When an earlier one goes away, it stands.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bson import ObjectId

from projections.content.described import (
    Effect,
    State,
    has_begun,
    made,
    open_state,
    removed,
    shown_fields,
    take,
)
from projections.content.documents import RelationshipDocument
from projections.event import StoredEvent, read_paths
from projections.kinds import (
    Contest,
    Decided,
    Document,
    Index,
    Rules,
    StreamProjection,
    Target,
    contenders_target,
)
from projections.streams import StreamFold

_COLLECTION = "content_relationships"
_ENDS = ("parent_id", "child_id", "relationship_type")
_FIELDS = (*_ENDS, "order", "display_rules", "adaptive_params")
_IDS = (
    ("parent_id",),
    ("child_id",),
    ("display_rules", "prerequisites", "*"),
    ("display_rules", "conditions", "*", "target_id"),
)
DECIDED = ("effective", "reason")
"""What `content_cycles` alone writes."""
CLOSES_CYCLE = "closes_cycle"


def opened(current: Mapping[str, Any] | None) -> State:
    return open_state(current, _FIELDS)


def changed(state: State, event: StoredEvent) -> None:
    """What the event says of the relationship; its ends stay."""
    take(state, event, _FIELDS, ids=_IDS)


def related(state: State, event: StoredEvent) -> None:
    """It is there from now on, between these ends: the latest that was said of them counts."""
    changed(state, event)
    made(state, event)


def unrelated(state: State, event: StoredEvent) -> None:
    """It is there no more."""
    take(state, event, ())
    removed(state, event)


_EFFECTS: Mapping[str, Effect] = {
    "content_related": related,
    "content_relationship_changed": changed,
    "content_unrelated": unrelated,
}


def apply(state: State, event: StoredEvent) -> None:
    """Take an event; KeyError for one of no relationship's."""
    _EFFECTS[event.event_type](state, event)


def shown(state: State) -> Document:
    """All fields; `since` is the event that made it, by which relationships are ordered."""
    made_by = state["made"] and dict(zip(("at", "event_id"), state["made"], strict=True))
    return {**shown_fields(state, _FIELDS), "since": made_by}


_FOLD = StreamFold(1, opened, apply, shown)

CONTENT_RELATIONSHIPS = StreamProjection(
    name="content_relationships",
    version=_FOLD.version,
    about=("relationship",),
    target=Target(
        _COLLECTION,
        (RelationshipDocument,),
        (
            Index(_COLLECTION, "idx_content_relationships_parent", (("parent_id", 1), ("order", 1))),
            Index(_COLLECTION, "idx_content_relationships_child", (("child_id", 1),)),
        ),
    ),
    paths=tuple(name for name in RelationshipDocument.model_fields if name not in ("id", "rev", *DECIDED)),
    fold=_FOLD.fold,
    refold=_FOLD.refold,
    event_paths=read_paths(_FIELDS),
    rules=Rules(apply, _EFFECTS),
    begun=has_begun,
)


def meets(document: Mapping[str, Any]) -> Sequence[str]:
    """Where a relationship meets others of its kind: at its two ends. One that is not there meets none."""
    if document.get("since") is None or document["deleted_at"] is not None:
        return ()
    return [f"{document['relationship_type']}:{document[end]}" for end in ("parent_id", "child_id")]


def standing(edges: Iterable[Mapping[str, Any]]) -> Mapping[ObjectId, bool]:
    """Of relationships, with all that hang together with them, by `_id`: whether each stands, or closes a cycle.

    One after the other is added, in the order in which they were made, unless its parent is below its child then.
    """
    below: dict[Any, list[Any]] = defaultdict(list)
    above: dict[Any, list[Any]] = defaultdict(list)
    stands: dict[ObjectId, bool] = {}
    for edge in sorted(edges, key=_made_at):
        parent, child = meets(edge)
        stands[edge["_id"]] = fits = not _reaches(child, parent, below, above)
        if fits:
            below[parent].append(child)
            above[child].append(parent)
    return stands


def decide(documents: Sequence[Mapping[str, Any]]) -> Mapping[Any, Decided]:
    """What `content_cycles` says of each; of one that is not there, nothing."""
    ours = [document for document in documents if document.get("since") is not None]
    stands = standing(document for document in ours if meets(document))
    return {document["_id"]: _DECISIONS[stands.get(document["_id"])] for document in ours}


_DECISIONS: Mapping[bool | None, Decided] = {
    None: Decided({}),
    True: Decided({"effective": True, "reason": None}),
    False: Decided(
        {"effective": False, "reason": CLOSES_CYCLE},
        "ClosesCycle",
        "it closes a cycle with relationships of its kind that were made earlier",
    ),
}

CONTENT_CYCLES = Contest(
    name="content_cycles",
    version=1,
    source=CONTENT_RELATIONSHIPS.name,
    paths=DECIDED,
    reads=("parent_id", "child_id", "relationship_type", "since", "deleted_at"),
    keys=meets,
    decide=decide,
    contenders=contenders_target("content_cycles_contenders"),
)


def _made_at(edge: Mapping[str, Any]) -> tuple[Any, ...]:
    return edge["since"]["at"], edge["since"]["event_id"], edge["_id"]


def _reaches(
    start: Any, end: Any, below: Mapping[Any, Sequence[Any]], above: Mapping[Any, Sequence[Any]]
) -> bool:
    """Whether a way leads down from `start` to `end`: sought from both, so that the shorter side decides."""
    if start == end:
        return True
    down, up = {start}, {end}
    down_next, up_next = [start], [end]
    while down_next and up_next:
        if len(down_next) <= len(up_next):
            down_next = _one_step(down_next, below, down)
            met = not up.isdisjoint(down_next)
        else:
            up_next = _one_step(up_next, above, up)
            met = not down.isdisjoint(up_next)
        if met:
            return True
    return False


def _one_step(some: Sequence[Any], ways: Mapping[Any, Sequence[Any]], seen: set[Any]) -> list[Any]:
    found = {each for one in some for each in ways.get(one, ())} - seen
    seen |= found
    return list(found)
