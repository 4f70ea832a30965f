"""The learner's notification preferences: asked when a notification is about to leave, not when it was earned."""

from collections.abc import Mapping
from typing import Any

# Which of `preferences.notifications` speaks for a channel; the log leaves nobody's house and has none.
PREFERENCES: Mapping[str, str] = {
    "mail": "email_course_updates",
    "webhook": "push_notifications",
    "kafka": "push_notifications",
}

# What `allows` and the senders read of a user.
FIELDS = ("email", "deleted_at", "preferences.notifications")


def allows(user: Mapping[str, Any] | None, channel: str) -> bool:
    """Whether the learner wants this channel. No user document, no preference or null: yes. A deleted one: no."""
    preference = PREFERENCES.get(channel)
    if user is None or preference is None:
        return True
    if user.get("deleted_at") is not None:
        return False
    wish = _at(user, "preferences", "notifications", preference)
    return wish is None or wish is True


def _at(document: Any, *path: str) -> Any:
    """The value there, None where there is nothing of the kind: the document is the platform's."""
    for name in path:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document
