"""A record's fields as the two documents, written by hand as fast as plain Python does it; nothing is checked."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from bson import ObjectId

Document = dict[str, Any]

# A new record of the specification: what its first event does not say.
_NEW: Document = {
    "status": "active",
    "enrollment_date": None,
    "progress.percentage": 0.0,
    "progress.completed_lessons": 0,
    "progress.total_lessons": None,
    "progress.current_lesson_id": None,
    "progress.estimated_completion_date": None,
    "time_tracking.session_count": 0,
    "time_tracking.average_session_duration": 0,
    "time_tracking.longest_session": 0,
    "lesson_progress": [],
    "performance.quiz_average": None,
    "performance.assignment_average": None,
    "performance.engagement_score": 0.0,
    "performance.consistency_score": 0.0,
    "performance.skills_progress": [],
    "achievements": [],
    "learning_analytics.study_patterns": {},
    "learning_analytics.difficulty_areas": [],
    "learning_analytics.learning_velocity": {},
    "social.discussion_posts": 0,
    "social.questions_asked": 0,
    "social.answers_given": 0,
    "social.peer_interactions": 0,
    "social.study_group_participations": 0,
    "certificates": [],
    "completion_notified": False,
}
_SOCIAL = {
    "discussion_posted": "social.discussion_posts",
    "question_asked": "social.questions_asked",
    "answer_given": "social.answers_given",
    "peer_interaction": "social.peer_interactions",
    "study_group_joined": "social.study_group_participations",
}
_METADATA = ("session_id", "device_type", "user_agent", "ip_address")


def documents(fields: Mapping[str, Any], version: int) -> tuple[Document, Document]:
    """The event and its row, with the fields, types and sizes of the worker's, less fingerprint and source.

    `version` is whatever keeps (stream, version) unique: the offset, where nobody counts.
    """
    event_id, at = UUID(fields["event_id"]), datetime.fromisoformat(fields["occurred_at"])
    user, course, lesson = fields["user_id"], fields["course_id"], fields.get("lesson_id")
    ids = {"course_id": ObjectId(course), "user_id": ObjectId(user)}
    if lesson is not None:
        ids["lesson_id"] = ObjectId(lesson)
    details = fields.get("details") or {}
    data: Document = {**ids, "session_id": fields["session_id"], "device_type": fields["device_type"]}
    metadata: Document = {
        **ids,
        "interaction_type": fields["event_type"],
        **{name: fields[name] for name in _METADATA},
    }
    row: Document = {"_id": event_id, "timestamp": at, "metadata": metadata, "details": details}
    if "value" in fields:
        data["value"] = row["value"] = fields["value"]
    if details:
        data["details"] = details
    event = {
        "_id": event_id,
        "stream_id": f"course_{course}_user_{user}",
        "version": version,
        "event_type": fields["event_type"],
        "event_data": data,
        "metadata": {
            "timestamp": at,
            "correlation_id": fields.get("correlation_id"),
            "producer": fields.get("producer"),
            "fingerprint": b"",
            "source": None,
        },
        "personal": {"user_agent": fields["user_agent"], "ip_address": fields["ip_address"]},
        "key_id": None,
        "curriculum": None,
        "slot": 0,
        "occurred_at": at,
        "recorded_at": datetime.now(UTC),
        "schema_version": 1,
    }
    return event, row


def record_update(fields: Mapping[str, Any]) -> tuple[Document, Document]:
    """Filter and update of the specification's `user_progress` document by one event.

    `stats.update_count` counts the events, as the specification's bulk update does. What an update cannot know
    without reading (percentages that nobody reported, averages, sessions) stays as it was inserted.
    """
    at, details = datetime.fromisoformat(fields["occurred_at"]), fields.get("details") or {}
    now = datetime.now(UTC)
    sets: Document = {"time_tracking.last_activity": at, "last_accessed": at, "updated_at": now}
    grows: Document = {"stats.update_count": 1, "time_tracking.total_seconds": details.get("time_spent", 0)}
    new: Document = {**_NEW, "created_at": now}
    if "lesson_id" in fields:
        sets["progress.current_lesson_id"] = ObjectId(fields["lesson_id"])
    match fields["event_type"]:
        case "course_enrolled":
            sets |= {"status": "active", "enrollment_date": at}
            sets["progress.total_lessons"] = details.get("total_lessons")
        case "course_unenrolled":
            sets["status"] = "dropped"
        case "complete":
            grows["progress.completed_lessons"] = 1
        case "quiz_submitted":
            sets["performance.quiz_average"] = details["score"]
            grows["performance.quiz_count"] = 1
        case "progress_updated":
            sets["progress.percentage"] = details["new_progress"]
        case "assignment_graded":
            sets["performance.assignment_average"] = fields["value"]
        case event_type if event_type in _SOCIAL:
            grows[_SOCIAL[event_type]] = 1
    changed = {"$set": sets, "$inc": grows}
    touched = {*sets, *grows}
    unset = {path: value for path, value in new.items() if path not in touched}
    key = {"user_id": ObjectId(fields["user_id"]), "course_id": ObjectId(fields["course_id"])}
    return key, {**changed, "$setOnInsert": unset}
