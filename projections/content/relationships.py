"""`content_relationships`: what is shown below what.

Relationships of one kind may close a cycle, which no stream shows by itself. `content_cycles` decides over all of
them, in the order (occurred_at, event_id) in which they were made: one that closes a cycle with earlier ones that
stand gives way. Its document says so, and no other one depends on it. When an earlier one goes away, it stands.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId

from projections.content.cycles import Agenda, Edge, Ways
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
from projections.contests import order_of
from projections.event import StoredEvent, read_paths
from projections.kinds import (
    Contest,
    Decided,
    Document,
    Entry,
    Index,
    NoCycle,
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


def placed(document: Mapping[str, Any]) -> bytes:
    """Where it stands among the others: by the event that made it."""
    return order_of(document["since"]["at"], document["since"]["event_id"])


def decide(
    known: Mapping[ObjectId, Entry], changed: Mapping[ObjectId, Entry | None]
) -> Mapping[ObjectId, Any]:
    """Whether relationships stand: of those that changed, and of later ones that they may make fall, or stand.

    They are taken in the order in which they were made: when one's turn comes, all earlier ones are decided. One that
    stands from now on has the later ones looked at that lie on a cycle with it; one that stands no more, all later
    ones that gave way.
    """
    ways, fallen = Ways(), list[Edge]()
    for each, one in known.items():
        if each in changed:
            continue
        edge = Edge.of(each, one)
        if one["outcome"]:
            ways.add(edge)
        else:
            fallen.append(edge)
    agenda = Agenda([Edge.of(each, one) for each, one in changed.items() if one is not None])
    gone = [Edge.of(each, known[each]) for each in changed if each in known and known[each]["outcome"]]
    if gone:
        agenda.look_at(fallen, behind=min(gone))
    outcomes: dict[ObjectId, Any] = {}
    for edge in agenda:
        stood = ways.remove(edge)
        closes = ways.leads(edge.child, edge.parent)
        outcomes[edge.identity] = not (closes and ways.leads(edge.child, edge.parent, before=edge.place))
        if outcomes[edge.identity]:
            if closes and not stood:
                agenda.look_at(ways.between(edge.child, edge.parent), behind=edge)
            ways.add(edge)
        elif stood:
            agenda.look_at(fallen, behind=edge)
    return outcomes


def given(document: Mapping[str, Any], outcome: Any) -> Decided | None:
    """What `content_cycles` says of a relationship; of one that is not there, nothing."""
    return None if document.get("since") is None else _DECISIONS[outcome]


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
    version=2,
    source=CONTENT_RELATIONSHIPS.name,
    paths=DECIDED,
    reads=(*_ENDS, "since", "deleted_at"),
    rule=NoCycle(*_ENDS),
    keys=meets,
    entry=placed,
    decide=decide,
    given=given,
    contenders=contenders_target("content_cycles_contenders"),
)
