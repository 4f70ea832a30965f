"""The content of a course: each part is what the last event by (occurred_at, event_id) says of it. Pure.

`LEAVES` are the parts that are taken and replaced as one; what stands around them is merged. As every part remembers
when it was said, events may come in any order.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any, Final, NotRequired, TypedDict
from uuid import UUID

from bson import ObjectId

from projections.claims import told_apart
from projections.content.courses.pricing import unlike_type
from projections.event import StoredEvent
from projections.merging import Order, Stamps, merge, opened, opened_stamps
from projections.paths import ABSENT, at, nested
from worker.contract.fields import whole

Document = dict[str, Any]


class SlugSaid(TypedDict):
    """That an event gave the course this slug; one that was adopted had it `since` before."""

    at: datetime
    id: UUID
    value: str
    since: NotRequired[datetime]


class Content(TypedDict):
    """What is kept of a course's content: its values as the document would show them, and when each part was said.

    Prices that do not fit their type are among the values, too: what comes next may show them again.
    `slugs` are those that were given, as far as they are told apart; `changed_at` is when any part was changed last.
    """

    values: Document
    stamps: Stamps
    slugs: list[SlugSaid]
    changed_at: datetime | None


def _as_written(value: Any) -> Any:
    return value


def _object_id(value: Any) -> ObjectId:
    return ObjectId(value)


def _with_ids(value: Any) -> Any:
    """A value with each `_id` in it as the store has ids."""
    if isinstance(value, Mapping):
        return {
            name: ObjectId(each) if name == "_id" and isinstance(each, str) else _with_ids(each)
            for name, each in value.items()
        }
    return [_with_ids(each) for each in value] if isinstance(value, list) else value


def _curriculum(value: Any) -> list[Document]:
    """Modules, lessons and questions have ids; what else their content holds is carried as it is."""
    return [_module(module) for module in value]


def _module(module: Mapping[str, Any]) -> Document:
    return {
        **module,
        "_id": ObjectId(module["_id"]),
        "lessons": [_lesson(each) for each in module["lessons"]],
    }


def _lesson(lesson: Mapping[str, Any]) -> Document:
    return {
        name: ObjectId(value) if name == "_id" else _with_ids(value) if name == "quiz" else value
        for name, value in lesson.items()
    }


def _price(value: Mapping[str, Any]) -> Document:
    """Amounts as numbers: readers compare and sort by them, nobody adds them up."""
    amounts = ("amount", "original_price")
    return {name: float(each) if name in amounts else each for name, each in value.items()}


def _plans(value: list[Mapping[str, Any]]) -> list[Document]:
    prices = ("price", "price_per_installment")
    return [
        {name: float(each) if name in prices else whole(each) for name, each in plan.items()}
        for plan in value
    ]


LEAVES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "title": _as_written,
    "subtitle": _as_written,
    "description.short": _as_written,
    "description.detailed": _as_written,
    "description.markdown": _as_written,
    "description.html": _as_written,
    "metadata.category": _as_written,
    "metadata.subcategory": _as_written,
    "metadata.tags": _as_written,
    "metadata.level": _as_written,
    "metadata.language": _as_written,
    "metadata.duration.total_minutes": whole,
    "metadata.duration.estimated_completion": whole,
    "pricing.type": _as_written,
    "pricing.price": _price,
    "pricing.payment_plans": _plans,
    "media.thumbnail": _as_written,
    "media.preview_video": _as_written,
    "media.gallery": _as_written,
    "curriculum": _curriculum,
    "learning.objectives": _as_written,
    "learning.prerequisites": _as_written,
    "learning.outcomes": _as_written,
    "learning.skills_covered": _as_written,
    "instructor_id": _object_id,
    "instructor.bio": _as_written,
    "instructor.credentials": _as_written,
    "seo.meta_title": _as_written,
    "seo.meta_description": _as_written,
    "seo.keywords": _as_written,
    "seo.og_image": _as_written,
    "seo.structured_data": _as_written,
    "location": _as_written,
}
"""Paths of an event's details, which are those of the document, and what becomes of a value on the way there."""

FIELDS: Final = tuple(dict.fromkeys(path.partition(".")[0] for path in LEAVES))
"""The top-level fields that the content has."""

_WHOLE: Final = frozenset(tuple(path.split(".")) for path in LEAVES)


def empty_content() -> Content:
    """Of a course of which nothing is known."""
    return Content(values={}, stamps={}, slugs=[], changed_at=None)


def opened_copy(content: Content) -> Content:
    """The same, open for change: nothing that `take` changes is shared."""
    return Content(
        values=opened(content["values"]),
        stamps=opened_stamps(content["stamps"]),
        slugs=[*content["slugs"]],
        changed_at=content["changed_at"],
    )


def take(content: Content, event: StoredEvent) -> None:
    """What an event says of the content, where nothing later is known."""
    if event.is_opening:
        _take_whole(content, event)
        return
    found = {path: at(event.details, path) for path in LEAVES}
    said = {path: value for path, value in found.items() if value is not ABSENT}
    slug = event.details.get("slug")
    _merge(
        content, event, {path: None if value is None else LEAVES[path](value) for path, value in said.items()}
    )
    if isinstance(slug, str):
        _say_slug(content, event, slug)
    if said or isinstance(slug, str):
        content["changed_at"] = _latest(content["changed_at"], event.occurred_at)


def claimed_slug(content: Content) -> Document | None:
    """The slug that the course was given last, and since when it has been that one without a break."""
    said = content["slugs"]
    if not said:
        return None
    first = said[-1]
    for each in reversed(said):
        if each["value"] != first["value"]:
            break
        first = each
    return {"value": first["value"], "at": first.get("since", first["at"]), "event_id": first["id"]}


def shown_content(content: Content) -> Document:
    """The fields that there are, each in one order of its parts, whatever order they were said in.

    A price that does not fit the course's type is not shown.
    """
    values, wrong = content["values"], prices_aside(content)
    if wrong:
        pricing = {name: each for name, each in values["pricing"].items() if name not in wrong}
        values = {**values, "pricing": pricing}
    return {name: _in_order(value, name) for name in FIELDS if (value := values.get(name)) is not None}


def prices_aside(content: Content) -> Document:
    """The parts of the pricing that are not shown, by name: they do not fit the course's type."""
    pricing = content["values"].get("pricing")
    return {name: pricing[name] for name in prices_refused(content)} if pricing else {}


def prices_refused(content: Content) -> dict[str, Order]:
    """When each of these parts was said, and by which event."""
    return unlike_type(content["values"], content["stamps"])


def working_content(content: Content) -> Document:
    """What a version's snapshot holds: all fields of the content that there are, and the slug that was given last."""
    values, claimed = deepcopy(shown_content(content)), claimed_slug(content)
    return values if claimed is None else {**values, "slug": claimed["value"]}


def _merge(content: Content, event: StoredEvent, said: Mapping[str, Any]) -> None:
    order: Order = (event.occurred_at, event.event_id)
    merge(content["stamps"], content["values"], nested(said), order, leaves=_WHOLE)


def _take_whole(content: Content, event: StoredEvent) -> None:
    """The content was kept by somebody else until then: every part was said now, also that there is none."""
    was, life = event.details["record"]["content"], event.details["record"]["life"]
    found = {path: at(was, path) for path in LEAVES}
    _merge(content, event, {path: None if value is ABSENT else value for path, value in found.items()})
    for name in FIELDS:  # what else stands within these fields stays where it is
        mine, theirs = content["values"].get(name), was.get(name)
        if isinstance(theirs, Mapping):
            content["values"][name] = _completed(mine if isinstance(mine, Mapping) else {}, theirs, name)
    if (slug := was.get("slug")) is not None:
        _say_slug(content, event, slug, since=life["created_at"])
    content["changed_at"] = _latest(content["changed_at"], life["updated_at"])


def _completed(mine: Mapping[str, Any], theirs: Mapping[str, Any], path: str) -> Document:
    """With the parts that only their document has, and that are no parts of ours."""
    result = dict(mine)
    for name, value in theirs.items():
        inner = f"{path}.{name}"
        if inner in LEAVES:
            continue
        if isinstance(value, Mapping) and _has_parts(inner):
            known = result.get(name)
            result[name] = _completed(known if isinstance(known, Mapping) else {}, value, inner)
        else:
            result.setdefault(name, value)
    return result


def _in_order(value: Any, path: str) -> Any:
    """A field with its parts in the order of `LEAVES`, and behind them what else stands there by its name."""
    if not isinstance(value, Mapping) or not _has_parts(path):
        return value
    order = {name: place for place, name in enumerate(_parts_of(path))}
    names = sorted(value, key=lambda name: (order.get(name, len(order)), name))
    return {name: _in_order(value[name], f"{path}.{name}") for name in names}


def _has_parts(path: str) -> bool:
    return any(leaf.startswith(f"{path}.") for leaf in LEAVES)


def _parts_of(path: str) -> list[str]:
    """The names of the parts of a field."""
    inner = (leaf.removeprefix(f"{path}.") for leaf in LEAVES if leaf.startswith(f"{path}."))
    return list(dict.fromkeys(each.partition(".")[0] for each in inner))


def _say_slug(content: Content, event: StoredEvent, slug: str, since: datetime | None = None) -> None:
    said = SlugSaid(at=event.occurred_at, id=event.event_id, value=slug)
    if since is not None:
        said["since"] = since
    content["slugs"] = told_apart(sorted([*content["slugs"], said], key=_order), lambda each: each["value"])


def _order(said: SlugSaid) -> tuple[datetime, bytes]:
    return said["at"], said["id"].bytes


def _latest(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)
