"""Invariant 5, of courses: where they are the worker's, each is what its events say, worked out a second time.

From docs/projections.md and the contract alone: all events of a course at once, in their order, one after the other,
where the worker keeps a moment for each part.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from bson import Decimal128, ObjectId

from tests.oracle.case import Case
from tests.oracle.claims import claimed
from tests.oracle.decimals import whole
from tests.oracle.finding import unexpected
from tests.oracle.projected import document_differences
from tests.oracle.reported import Event, all_details, moment, order, without_effect
from tests.oracle.stored import OPENING, VOID, Document

_STREAM = re.compile(r"course_[0-9a-f]{24}")
# Objects that are merged, with their parts; every other value is taken as one.
_KNOWN: Mapping[str, Sequence[str]] = {
    "description": ("short", "detailed", "markdown", "html"),
    "metadata": ("category", "subcategory", "tags", "level", "language", "duration"),
    "metadata.duration": ("total_minutes", "estimated_completion"),
    "pricing": ("type", "price", "payment_plans"),
    "media": ("thumbnail", "preview_video", "gallery"),
    "learning": ("objectives", "prerequisites", "outcomes", "skills_covered"),
    "seo": ("meta_title", "meta_description", "keywords", "og_image", "structured_data"),
    "instructor": ("bio", "credentials"),
}
FIELDS = (
    *("title", "subtitle", "description", "metadata", "pricing", "media", "curriculum", "learning", "seo"),
    *("location", "instructor_id", "instructor"),
)
# In `instructor` sums have a part, and the platform whatever it likes.
_WHOLLY_OURS = tuple(name for name in FIELDS if name != "instructor")
_MOVES = {
    "course_submitted": ({"draft"}, "review"),
    "course_published": ({"review", "published"}, "published"),
    "course_returned_to_draft": ({"review", "published", "archived"}, "draft"),
    "course_archived": ({"draft", "review", "published"}, "archived"),
}
_PRICES = ("price", "payment_plans")
_SLUGS = 200
_CHANGELOG = 50


def course_documents(case: Case) -> Iterator[str]:
    """Every course that was created has one document, at its last version, which shows what follows from its events.

    Where the platform keeps courses by itself, none of them names a stream.
    """
    documents = [each for each in case.stored.courses if "stream_id" in each]
    streams = case.stored.streams_of("courses") if "courses" in case.owned else {}
    wanted = {
        stream: expected_course(events)
        for stream, events in streams.items()
        if _STREAM.fullmatch(stream) and any(map(_begins, events))
    }
    yield from document_differences("course", streams, wanted, documents)
    for document in documents:
        expected = wanted.get(document["stream_id"], {})
        for name in (name for name in _WHOLLY_OURS if name in expected):
            yield from unexpected(f"course {document['_id']}", expected[name], document.get(name), name)


def claimed_slugs(case: Case) -> Iterator[str]:
    """Of all courses that ask for a slug the earliest has it."""
    yield from claimed(case.stored.courses, ("slug",), "course")


def expected_course(events: Sequence[Event]) -> Document:
    """What the document says after these events, as far as it follows from them."""
    story = Story()
    for event in sorted((each for each in events if each["event_type"] != VOID), key=order):
        story.take(event)
    return story.document()


def _begins(event: Event) -> bool:
    return event["event_type"] in ("course_created", OPENING)


class Story:
    """A course, event after event."""

    def __init__(self) -> None:
        self.content: Document = {}
        self.priced_by: dict[str, Event] = {}
        self.slugs: list[tuple[str, Event]] = []
        self.content_at: list[Any] = []
        self.begin_life({"status": None})

    def begin_life(self, was: Mapping[str, Any]) -> None:
        self.status, self.deleted_at = was["status"], was.get("deleted_at")
        self.created_at, self.published_at = was.get("created_at"), was.get("published_at")
        self.planned, self.given_at = was.get("next_update_scheduled"), was.get("last_updated")
        self.live, self.touched = was.get("version"), [was.get("updated_at")]
        self.versions: dict[str, Mapping[str, Any]] = {} if self.live is None else {self.live: {}}
        self.had = {*self.versions}
        self.log: dict[str, Document] = {}
        self.old_log = list(was.get("changelog") or [])
        self.refused: list[tuple[Event, str]] = []
        self.back: Event | None = None

    def take(self, event: Event) -> None:
        kind, said = event["event_type"], all_details(event)
        if kind == OPENING:
            self._adopt(event, said["record"])
            return
        self._say(event, said)
        reason = self._step(event, kind, said)
        if reason == "":
            self.touched.append(event["occurred_at"])
        elif reason is not None:
            self.refused.append((event, reason))

    def _adopt(self, event: Event, record: Mapping[str, Any]) -> None:
        """Every part was said now; what else stood within its fields stays."""
        self.content = {name: value for name, value in record["content"].items() if name != "slug"}
        self.priced_by = dict.fromkeys(_KNOWN["pricing"], event)
        if "slug" in record["content"]:
            since = record["life"]["created_at"]
            self.slugs.append((record["content"]["slug"], {**event, "occurred_at": since}))
        self.begin_life(record["life"])
        self.content_at.append(record["life"]["updated_at"])

    def _say(self, event: Event, said: Mapping[str, Any]) -> None:
        own = {name: said[name] for name in FIELDS if name in said}
        if "slug" in said:
            self.slugs.append((said["slug"], event))
        if parts_said(own) or "slug" in said:
            self.content_at.append(event["occurred_at"])
        self.content = _merged(self.content, own, "")
        self.priced_by |= dict.fromkeys(own.get("pricing") or {}, event)

    def _step(self, event: Event, kind: str, said: Mapping[str, Any]) -> str | None:
        """Why the step has no effect; an empty text where it has, None where the event is no step."""
        at = event["occurred_at"]
        if kind == "course_created":
            if self.status is not None:
                return "created_already"
            self.status, self.created_at = "draft", at
            return ""
        is_version = kind.startswith("course_version_")
        if kind not in _MOVES and not is_version and kind not in ("course_deleted", "course_restored"):
            return None
        if self.status is None:
            return "not_created"
        if kind == "course_restored":
            was, self.deleted_at = self.deleted_at, None
            self.back = event if was is not None else self.back
            return "" if was is not None else "not_deleted"
        if self.deleted_at is not None:
            return "deleted"
        if kind == "course_deleted":
            self.deleted_at = at
            return ""
        return self._version(kind, said, at) if is_version else self._move(kind, said, at)

    def _move(self, kind: str, said: Mapping[str, Any], at: Any) -> str:
        before, after = _MOVES[kind]
        if self.status not in before:
            return "wrong_status"
        if kind == "course_published":
            self.published_at = self.published_at if self.status == "published" else at
            self.planned, self.given_at = moment(said.get("next_update_scheduled")), at
        self.status = after
        return ""

    def _version(self, kind: str, said: Mapping[str, Any], at: Any) -> str:
        number = said["version"]
        if kind.endswith("created"):
            if number in self.versions:
                return "version_exists"
            self.versions[number] = said
        elif number not in self.versions:
            return "version_unknown"
        elif kind.endswith("deployed"):
            if number == self.live:
                return "version_live"
            self.live, self.given_at = number, at
            self.had.add(number)
            if "summary" in self.versions[number]:
                self.log[number] = self._entry(number, at)
        elif kind.endswith("rolled_back"):
            if number != self.live:
                return "version_not_live"
            former = said["rollback_version"]
            if former not in self.had or former == number:
                return "version_not_deployed"
            self.live, self.given_at = former, at
            self.log.pop(number, None)
        return ""

    def _entry(self, number: str, at: Any) -> Document:
        said = self.versions[number]
        author = said.get("created_by")
        return {
            "version": number,
            "date": at,
            "changes": said.get("changes") or [said["summary"]],
            "author": None if author is None else ObjectId(author),
        }

    def shown(self) -> Document:
        """The content without the prices that its type does not allow."""
        wrong = self._wrong_prices()
        pricing = {name: each for name, each in self.content.get("pricing", {}).items() if name not in wrong}
        return {**self.content, "pricing": pricing} if wrong else self.content

    def _wrong_prices(self) -> Mapping[str, Event]:
        """What of the pricing contradicts what another event said of the type, and which event says it."""
        pricing = self.content.get("pricing", {})
        by = {name: self.priced_by[name] for name in _PRICES if pricing.get(name) is not None}
        return {
            name: event
            for name, event in by.items()
            if event is not self.priced_by.get("type") and contradicts(pricing.get("type"), pricing[name])
        }

    def _without_effect(self) -> Mapping[str, Any] | None:
        known = {event["_id"] for event, _ in self.refused}
        wrong = {event["_id"]: event for event in self._wrong_prices().values() if event["_id"] not in known}
        return without_effect([*self.refused, *((event, "price_unlike_type") for event in wrong.values())])

    def document(self) -> Document:
        content = self.shown()
        log = sorted(self.log.values(), key=lambda each: (each["date"], each["version"]), reverse=True)
        dates = [each for each in (*self.content_at, *self.touched) if each is not None]
        presented = content.get("instructor") or {}
        return {
            **{name: content.get(name) for name in FIELDS},
            "curriculum": content.get("curriculum") or [],
            "instructor": {
                "user_id": content.get("instructor_id"),
                "bio": presented.get("bio"),
                "credentials": presented.get("credentials"),
            },
            "status": self.status,
            "publication": {
                "status": self.status,
                "published_at": self.published_at,
                "version": self.live,
                "last_updated": self.given_at,
                "next_update_scheduled": self.planned,
                "changelog": [*log, *self.old_log][:_CHANGELOG],
            },
            "claims": self._claims(),
            "without_effect": self._without_effect(),
            "created_at": self.created_at,
            "updated_at": max(dates, default=None),
            "deleted_at": self.deleted_at,
        }

    def _claims(self) -> Document:
        if not self.slugs or self.deleted_at is not None:
            return {}
        wanted, place = self.slugs[-1][0], len(self.slugs) - 1
        while place and self.slugs[place - 1][0] == wanted:
            place -= 1
        if place:  # it was called otherwise before
            place = max(place, len(self.slugs) - _SLUGS)
        event = self.slugs[place][1]
        if self.back is not None:
            event = max(event, self.back, key=lambda each: (each["occurred_at"], each["_id"].bytes))
        return {"slug": {"value": wanted, "at": event["occurred_at"], "event_id": event["_id"]}}


def contradicts(kind: Any, value: Any) -> bool:
    """Whether a price, or a list of plans, is none of a course of this type."""
    if kind == "free":
        return (isinstance(value, list) and value != []) or any(amount > 0 for amount in _amounts(value))
    return kind == "paid" and any(amount <= 0 for amount in _amounts(value))


def _amounts(value: Any) -> Iterator[Decimal]:
    """What must be paid; an adopted document may hold anything there."""
    plans = value if isinstance(value, list) else []
    paid = [value.get("amount")] if isinstance(value, Mapping) else []
    paid += [each.get("price") for each in plans if _is_plan(each, "one_time")]
    paid += [each.get("price_per_installment") for each in plans if _is_plan(each, "installments")]
    for each in paid:
        if isinstance(each, int | float | Decimal128) and not isinstance(each, bool):
            amount = Decimal(str(each))
            if not amount.is_nan():
                yield amount


def _is_plan(value: Any, kind: str) -> bool:
    return isinstance(value, Mapping) and value.get("type") == kind


def parts_said(said: Any, path: str = "") -> list[str]:
    """The parts of the course that this says anything of."""
    if path in _KNOWN or not path:
        names = _KNOWN.get(path, FIELDS)
        return [
            part
            for name in names
            if isinstance(said, Mapping) and name in said
            for part in parts_said(said[name], f"{path}.{name}" if path else name)
        ]
    return [path]


def _merged(content: Mapping[str, Any], said: Mapping[str, Any], path: str) -> Document:
    """The content with what is said of it: null removes, an object of which nothing is left is none."""
    result = dict(content)
    for name in _KNOWN.get(path, FIELDS):
        if name not in said:
            continue
        inner, value = f"{path}.{name}" if path else name, said[name]
        if inner in _KNOWN:
            below = result.get(name)
            value = _merged(below if isinstance(below, Mapping) else {}, value, inner) or None
        elif value is not None:
            value = _converted(inner, value)
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    return result


def _converted(path: str, value: Any) -> Any:
    if path == "instructor_id":
        return ObjectId(value)
    if path == "pricing.price":
        return {n: float(v) if n in ("amount", "original_price") else v for n, v in value.items()}
    if path == "pricing.payment_plans":
        prices = ("price", "price_per_installment")
        return [{n: float(v) if n in prices else whole(v) for n, v in plan.items()} for plan in value]
    if path.startswith("metadata.duration."):
        return whole(value)
    return [_module(each) for each in value] if path == "curriculum" else value


def _module(module: Mapping[str, Any]) -> Document:
    return {**module, "_id": ObjectId(module["_id"]), "lessons": [*map(_lesson, module["lessons"])]}


def _lesson(lesson: Mapping[str, Any]) -> Document:
    found = {**lesson, "_id": ObjectId(lesson["_id"])}
    if "quiz" in found:
        questions = [{**each, "_id": ObjectId(each["_id"])} for each in found["quiz"]["questions"]]
        found["quiz"] = {**found["quiz"], "questions": questions}
    return found
