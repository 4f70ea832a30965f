"""xAPI video statements (profile https://w3id.org/xapi/video) as events of the contract.

What each part of a statement becomes stands in `docs/contract.md`. Learner, course and lesson ids become
ObjectIds by `foreign_object_id`; the originals are kept in `details.source`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic_core import PydanticCustomError

from worker.contract.identity import foreign_object_id
from worker.contract.times import parse_event_time

PRODUCER: Final = "xapi"

_EVENT_TYPES: Final = {
    "played": "view",
    "paused": "pause",
    "seeked": "seek",
    "completed": "complete",
    "initialized": "lesson_started",
}
_OTHER_VERBS: Final = "lesson_view"
_NEEDS_POSITION: Final = frozenset({"view", "pause", "seek"})

_PROFILE: Final = "https://w3id.org/xapi/video"
_VIDEO: Final = f"{_PROFILE}/extensions/"
_VIDEO_VERBS: Final = f"{_PROFILE}/verbs/"
_VIDEO_TYPES: Final = frozenset(
    {
        f"{_PROFILE}/activity-type/video",
        "http://activitystrea.ms/schema/1.0/video",
        "http://activitystrea.ms/specs/json/schema/activity-schema.html#video",
    }
)
# Takes another statement back: never about a video, whatever else it says.
_VOIDED: Final = "http://adlnet.gov/expapi/verbs/voided"
# `played-segments` repeats what the positions say and grows with every statement (up to 4.7 kB): left out.
_KEPT_IN_DETAILS: Final = {
    "progress": "progress",
    "length": "length",
    "time-from": "time_from",
    "completion-threshold": "completion_threshold",
    "speed": "speed",
    "volume": "volume",
    "full-screen": "full_screen",
    "quality": "quality",
    "cc-subtitle-enabled": "subtitles_enabled",
    "cc-subtitle-lang": "subtitles_language",
}
_SPACE: Final = re.compile(r"\s")
_OBJECT_ID: Final = re.compile(r"[0-9a-fA-F]{24}")
# ISO 8601 as xAPI allows it: seconds, the offset, its minutes and its colon may be missing.
_ISO_8601: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?"
    r"(?:([Zz])|([+-][0-9]{2})(?::?([0-9]{2}))?)?"
)


class TranslationError(ValueError):
    """The line is no statement, or lacks what its event needs; the message says which part."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A statement that is none of a learner about a video; `verb` is the last part of its verb's id."""

    verb: str


def translate(line: bytes, own_home_page: str | None = None) -> dict[str, Any] | LeftOut:
    """Native envelope fields of one statement, ready for `codec.encode`; or that it has no event.

    `own_home_page` is that of the platform's own accounts: their names, where they are ObjectIds, stay the learners'
    ids. Raises TranslationError for a line that is no JSON object, lacks a part or has a time that is none. Other
    values are handed on as they are: whether they keep the contract's rules is the codec's to say.
    """
    statement = _read(line)
    verb_id = _text(statement, "verb", "id")
    verb = verb_id.rstrip("/").rpartition("/")[2]
    if verb_id.rstrip("/") == _VOIDED or not _is_about_a_video(statement, verb_id) or _is_group(statement):
        return LeftOut(verb)
    event_type = _EVENT_TYPES.get(verb, _OTHER_VERBS)
    extensions = _extensions(statement, "context") | _extensions(statement, "result")
    user_id, learner = _learner(statement, own_home_page)
    course, lesson = _course(statement), _text(statement, "object", "id")
    source = {"format": "xapi", "verb": verb, **learner, "course": course, "lesson": lesson}
    fields: dict[str, Any] = {
        "event_id": _text(statement, "id"),
        "event_type": event_type,
        "occurred_at": _time(_text(statement, "timestamp")),
        "user_id": user_id,
        "course_id": _object_id(course),
        "lesson_id": _object_id(lesson),
        "producer": PRODUCER,
        "details": {name: extensions[key] for key, name in _KEPT_IN_DETAILS.items() if key in extensions}
        | {"source": source},
    }
    if "session-id" in extensions:
        fields["session_id"] = extensions["session-id"]
    if (position := _position(event_type, extensions)) is not None:
        fields["value"] = position
    return fields


def _read(line: bytes) -> dict[str, Any]:
    try:
        statement = orjson.loads(line)
    except ValueError:
        raise TranslationError("the line is not JSON") from None
    if not isinstance(statement, dict):
        raise TranslationError("the line is not a JSON object")
    return statement


def _is_about_a_video(statement: dict[str, Any], verb_id: str) -> bool:
    """By the type of its object; where that is not said, by its profile or by a verb that only videos have."""
    about = statement.get("object")
    if not isinstance(about, dict):
        raise TranslationError("object is missing or not an object")
    if about.get("objectType", "Activity") != "Activity":
        return False
    definition = about.get("definition")
    kind = definition.get("type") if isinstance(definition, dict) else None
    if kind is not None:
        return isinstance(kind, str) and kind in _VIDEO_TYPES
    return verb_id.startswith(_VIDEO_VERBS) or _PROFILE in _activities(statement, "category")


def _is_group(statement: dict[str, Any]) -> bool:
    """A group is nobody who learns, even one with a name of its own."""
    actor = statement.get("actor")
    return isinstance(actor, dict) and actor.get("objectType") == "Group"


def _position(event_type: str, extensions: dict[str, Any]) -> Any:
    """Where the player stands afterwards: a seek's target, otherwise the time of the statement."""
    position = extensions.get("time-to" if event_type == "seek" else "time")
    if position is None and event_type in _NEEDS_POSITION:
        raise TranslationError("result.extensions has no position of the player")
    return position


def _text(statement: dict[str, Any], *path: str) -> str:
    value: Any = statement
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if not isinstance(value, str):
        raise TranslationError(f"{'.'.join(path)} is missing or not a string")
    return value


def _time(written: str) -> str:
    """A timestamp of xAPI as the contract reads it: ISO 8601, UTC where no offset is said."""
    found = _ISO_8601.fullmatch(written)
    if found is None:
        raise TranslationError("timestamp is not an ISO 8601 time")
    minute, second, fraction, utc, offset, minutes = found.groups()
    zone = f"{offset}:{minutes or '00'}" if offset else utc or "Z"
    text = f"{minute}:{second or '00'}{'.' + fraction if fraction else ''}{zone}"
    try:
        parse_event_time(text)
    except PydanticCustomError as error:
        raise TranslationError(f"timestamp {error.message()}") from None
    return text


def _extensions(statement: dict[str, Any], part: str) -> dict[str, Any]:
    """Extensions of the video profile under their short names. All are scalars: anything else counts as absent."""
    holder = statement.get(part)
    extensions = holder.get("extensions") if isinstance(holder, dict) else None
    if not isinstance(extensions, dict):
        return {}
    return {
        key.removeprefix(_VIDEO): value
        for key, value in extensions.items()
        if key.startswith(_VIDEO) and isinstance(value, str | int | float)
    }


def _learner(statement: dict[str, Any], own_home_page: str | None) -> tuple[str, dict[str, str]]:
    """The learner's id and what it was made of, by the first of xAPI's four ways to name an agent that is there.

    These are account, mail box, its hash and OpenID. An account is its home page and its name together: the same name
    elsewhere is somebody else.
    """
    actor = statement.get("actor")
    if not isinstance(actor, dict):
        raise TranslationError("actor is missing or not an object")
    account = actor.get("account")
    page, name = (account.get("homePage"), account.get("name")) if isinstance(account, dict) else (None, None)
    if isinstance(page, str) and page and isinstance(name, str) and name:
        if _SPACE.search(page):  # parts home page and name in what the id is made of
            raise TranslationError("actor.account.homePage has a space")
        is_ours = own_home_page is not None and page.rstrip("/") == own_home_page.rstrip("/")
        is_id = is_ours and _OBJECT_ID.fullmatch(name)
        user_id = name.lower() if is_id else str(foreign_object_id(f"{page} {name}"))
        return user_id, {"user": name, "home_page": page}
    for key in ("mbox", "mbox_sha1sum", "openid"):
        value = actor.get(key)
        if isinstance(value, str) and value:
            return str(foreign_object_id(value)), {"user": value}
    raise TranslationError("actor has no account with homePage and name, and no mbox, mbox_sha1sum or openid")


def _course(statement: dict[str, Any]) -> str:
    for course in _activities(statement, "parent"):
        return course
    raise TranslationError("context.contextActivities.parent[0].id is missing or not a string")


def _activities(statement: dict[str, Any], kind: str) -> Iterator[str]:
    """Ids of the context's activities; xAPI 1.0.0 allowed one activity where later versions write a list."""
    context = statement.get("context")
    activities = context.get("contextActivities") if isinstance(context, dict) else None
    named = activities.get(kind) if isinstance(activities, dict) else None
    for activity in named if isinstance(named, list) else [named]:
        identity = activity.get("id") if isinstance(activity, dict) else None
        if isinstance(identity, str):
            yield identity


def _object_id(original: str) -> str:
    """An id that already is an ObjectId stays; any other is derived."""
    return original.lower() if _OBJECT_ID.fullmatch(original) else str(foreign_object_id(original))
