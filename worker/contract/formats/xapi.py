"""xAPI video statements (profile https://w3id.org/xapi/video) as events of the contract.

What each part of a statement becomes stands in `docs/contract.md`. Learner, course and lesson ids become
ObjectIds by `foreign_object_id`; the originals are kept in `details.source`.
"""

import re
from typing import Any, Final

import orjson

from worker.contract.identity import foreign_object_id

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

_VIDEO: Final = "https://w3id.org/xapi/video/extensions/"
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
_OBJECT_ID: Final = re.compile(r"[0-9a-fA-F]{24}")


class TranslationError(ValueError):
    """The line is no statement, or lacks what its event needs; the message says which part."""


def translate(line: bytes) -> dict[str, Any]:
    """Native envelope fields of one statement, ready for `codec.encode`.

    Raises TranslationError for a line that is no JSON object or lacks a part. Values are handed on as
    they are: whether they keep the contract's rules is the codec's to say.
    """
    statement = _read(line)
    verb = _text(statement, "verb", "id").rstrip("/").rpartition("/")[2]
    event_type = _EVENT_TYPES.get(verb, _OTHER_VERBS)
    extensions = _extensions(statement, "context") | _extensions(statement, "result")
    source = {
        "format": "xapi",
        "verb": verb,
        "user": _actor(statement),
        "course": _course(statement),
        "lesson": _text(statement, "object", "id"),
    }
    fields: dict[str, Any] = {
        "event_id": _text(statement, "id"),
        "event_type": event_type,
        "occurred_at": _text(statement, "timestamp"),
        "user_id": _object_id(source["user"]),
        "course_id": _object_id(source["course"]),
        "lesson_id": _object_id(source["lesson"]),
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


def _actor(statement: dict[str, Any]) -> str:
    """The first of xAPI's four ways to name an agent: account, mail box, its hash, OpenID."""
    actor = statement.get("actor")
    if isinstance(actor, dict):
        account = actor.get("account")
        names = [account.get("name") if isinstance(account, dict) else None]
        names += [actor.get(name) for name in ("mbox", "mbox_sha1sum", "openid")]
        for name in names:
            if isinstance(name, str) and name:
                return name
    raise TranslationError("actor has no account.name, mbox, mbox_sha1sum or openid")


def _course(statement: dict[str, Any]) -> str:
    """The first parent activity; xAPI 1.0.0 allowed one activity where later versions write a list."""
    context = statement.get("context")
    activities = context.get("contextActivities") if isinstance(context, dict) else None
    parents = activities.get("parent") if isinstance(activities, dict) else None
    first = parents[0] if isinstance(parents, list) and parents else parents
    course = first.get("id") if isinstance(first, dict) else None
    if not isinstance(course, str):
        raise TranslationError("context.contextActivities.parent[0].id is missing or not a string")
    return course


def _object_id(original: str) -> str:
    """An id that already is an ObjectId stays; any other is derived."""
    return original.lower() if _OBJECT_ID.fullmatch(original) else str(foreign_object_id(original))
