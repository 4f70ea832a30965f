"""What is shown below what: relationships between courses, modules, lessons and blocks, one class per event type."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from worker.contract.data_class import IDENTIFIER, INTERNAL, PUBLIC
from worker.contract.family import Family, Inlet
from worker.contract.fields import Count, Id, Key, Maybe, Name, Share
from worker.contract.models import ClosedDetails, Details, Envelope, by_type

_Several = Field(max_length=1_000)


class RelationshipEvent(Envelope):
    """Something that happened to a relationship."""

    relationship_id: Id
    details: Maybe[ClosedDetails] = None


class Condition(Details):
    """What must be so for the child to be shown: the `value` of the target is compared by the operator."""

    type: Name
    target_id: Maybe[Id] = None
    operator: Maybe[Name] = None
    value: Any = None


class DisplayRules(Details):
    """When the child is shown."""

    prerequisites: Annotated[list[Id], _Several] | None = None
    conditions: Annotated[list[Condition], _Several] | None = None


class AdaptiveParams(Details):
    """How the child adapts to a learner."""

    difficulty_adjustment: bool | None = None
    personalization_weight: Share | None = None
    skip_if_mastered: bool | None = None


class NewRelationshipDetails(ClosedDetails):
    """The child is shown below the parent, in the place `order`. Nothing is below itself."""

    parent_id: Id
    child_id: Id
    relationship_type: Key
    order: Maybe[Count] = None
    display_rules: Maybe[DisplayRules] = None
    adaptive_params: Maybe[AdaptiveParams] = None

    @model_validator(mode="after")
    def _not_below_itself(self) -> Self:
        if self.parent_id == self.child_id:
            raise PydanticCustomError("own_parent", "parent_id and child_id must be two things")
        return self


class ChangedRelationshipDetails(ClosedDetails):
    """What is left out stays; null removes it. Its ends and its kind are those that it was made with."""

    order: Count | None = None
    display_rules: DisplayRules | None = None
    adaptive_params: AdaptiveParams | None = None


class ContentRelated(RelationshipEvent):
    """The child was put below the parent; said again, it is a new relationship under the old id."""

    event_type: Literal["content_related"]
    details: NewRelationshipDetails


class ContentRelationshipChanged(RelationshipEvent):
    """What is named has changed."""

    event_type: Literal["content_relationship_changed"]
    details: ChangedRelationshipDetails


class ContentUnrelated(RelationshipEvent):
    """The child is below the parent no more."""

    event_type: Literal["content_unrelated"]


RELATIONSHIPS = Family(
    "relationships",
    Inlet.CONTENT,
    ("relationship",),
    by_type(ContentRelated, ContentRelationshipChanged, ContentUnrelated),
    classes={
        "event_type": PUBLIC,
        "occurred_at": PUBLIC,
        "relationship_id": IDENTIFIER,
        "details.relationship_type": PUBLIC,
        "details.order": PUBLIC,
        "details.parent_id": IDENTIFIER,
        "details.child_id": IDENTIFIER,
        "details.display_rules": INTERNAL,
        "details.adaptive_params": INTERNAL,
    },
    examples={
        "content_related": {
            "relationship_id": "65a4f0c2e13b7a0001e1a001",
            "details": {
                "parent_id": "65a4f0c2e13b7a0001bbbbbb",
                "child_id": "65a4f0c2e13b7a0001b10c01",
                "relationship_type": "contains",
                "order": 3,
                "display_rules": {
                    "prerequisites": ["65a4f0c2e13b7a0001b10c02"],
                    "conditions": [
                        {
                            "type": "quiz_score",
                            "target_id": "65a4f0c2e13b7a0001c0a002",
                            "operator": ">=",
                            "value": 80,
                        }
                    ],
                },
                "adaptive_params": {
                    "difficulty_adjustment": True,
                    "personalization_weight": 0.7,
                    "skip_if_mastered": True,
                },
            },
        },
        "content_relationship_changed": {
            "relationship_id": "65a4f0c2e13b7a0001e1a001",
            "details": {"order": 4},
        },
        "content_unrelated": {"relationship_id": "65a4f0c2e13b7a0001e1a001"},
    },
    unsaid=("a relationship of something with itself",),
)
