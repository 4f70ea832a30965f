"""The platform's own writes to its own collections: the spec's JavaScript, statement by statement, in PyMongo.

Numbers are as its driver stores them: a whole number as an integer, any other as a double.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo import MongoClient
from pymongo.client_session import ClientSession

Document = dict[str, Any]

BEGAN = datetime(2024, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    """So many days after the platform began."""
    return BEGAN + timedelta(days=number)


class Platform:
    """Its database `<prefix>_content`, without any schema of the worker's."""

    def __init__(self, uri: str, prefix: str) -> None:
        self.uri = uri
        self.client: MongoClient[Document] = MongoClient(uri, tz_aware=True)
        self.db = self.client[f"{prefix}_content"]

    def close(self) -> None:
        self.client.close()

    def add_course(self, *, lessons: int = 4, **fields: Any) -> Document:
        """`db.courses.insertOne`, with the fields of the collection's own validator."""
        number = self.db.courses.count_documents({})
        course: Document = {
            "_id": ObjectId(),
            "title": f"Course {number}",
            "slug": f"course-{number}",
            "instructor_id": ObjectId(),
            "status": "published",
            "created_at": BEGAN,
            "curriculum": [{"_id": ObjectId(), "lessons": [{"_id": ObjectId()} for _ in range(lessons)]}],
            "stats": {
                "enrollments": {"total": 0, "active": 0, "completed": 0},
                "ratings": {"average": 4.7, "total_reviews": 320, "distribution": {"5": 180, "4": 140}},
                "engagement": {"completion_rate": 0.78, "average_progress": 0.65, "discussion_posts": 1250},
            },
            **fields,
        }
        self.db.courses.insert_one(course)
        return course

    def add_user(self, **fields: Any) -> Document:
        """`db.users.insertOne`."""
        identity = ObjectId()
        user: Document = {
            "_id": identity,
            "email": f"{identity}@example.com",
            "username": str(identity),
            "stats": {"courses_created": 12, "total_revenue": 45000.5},
            **fields,
        }
        self.db.users.insert_one(user)
        return user

    def enrol(self, user: ObjectId, course: ObjectId, at: datetime = BEGAN, **fields: Any) -> ObjectId:
        """`enrollUserInCourse`, all four steps of its transaction."""
        payment = {"amount": 199.99, "currency": "USD", "method": "card", "transaction_id": str(ObjectId())}
        record: Document = {
            "user_id": user,
            "course_id": course,
            "enrollment_date": at,
            "progress": {"percentage": 0},
            "payment_data": payment,
            **fields,
        }

        def transaction(session: ClientSession) -> None:
            record.pop("_id", None)
            self.db.user_progress.insert_one(record, session=session)
            self.db.courses.update_one(
                {"_id": course},
                {"$inc": {"stats.enrollments.total": 1, "stats.enrollments.active": 1}},
                session=session,
            )
            entry = {"action": "course_enrollment", "course_id": course, "timestamp": at}
            self.db.users.update_one(
                {"_id": user},
                {"$inc": {"stats.courses_enrolled": 1}, "$push": {"activity_log": entry}},
                session=session,
            )
            self.db.billing_transactions.insert_one(
                {
                    "user_id": user,
                    "course_id": course,
                    "amount": payment["amount"],
                    "currency": payment["currency"],
                    "payment_method": payment["method"],
                    "status": "completed",
                    "transaction_id": payment["transaction_id"],
                    "created_at": at,
                },
                session=session,
            )

        for name in ("user_progress", "courses", "users", "billing_transactions"):
            if name not in self.db.list_collection_names():
                self.db.create_collection(name)
        with self.client.start_session() as session:
            session.with_transaction(transaction)
        identity: ObjectId = record["_id"]
        return identity

    def update_progress(
        self, user: ObjectId, course: ObjectId, percentage: float, at: datetime, time_spent: float = 60
    ) -> None:
        """`handleProgressUpdate`, its first step."""
        self.db.user_progress.update_one(
            {"user_id": user, "course_id": course},
            {
                "$set": {
                    "progress.percentage": percentage,
                    "time_tracking.last_activity": at,
                    "updated_at": at,
                },
                "$inc": {"time_tracking.total_seconds": time_spent},
            },
        )

    def notify_completed(self, user: ObjectId, course: ObjectId) -> None:
        """`watchUserProgress`: what it sets when it has sent the completion."""
        query = {"user_id": user, "course_id": course}
        self.db.user_progress.update_one(query, {"$set": {"completion_notified": True}})

    def insert(self, record: Mapping[str, Any]) -> Any:
        """Any document into `user_progress`, also where the worker's validator is there already."""
        done = self.db.user_progress.insert_one(dict(record), bypass_document_validation=True)
        return done.inserted_id


def enrolled(user: ObjectId, course: ObjectId, **fields: Any) -> Document:
    """What `enrollUserInCourse` inserts, and no more."""
    return {
        "user_id": user,
        "course_id": course,
        "enrollment_date": day(1),
        "progress": {"percentage": 0},
        **fields,
    }


def full_record(user: ObjectId, course: ObjectId, lessons: list[ObjectId], **fields: Any) -> Document:
    """`db.user_progress.insertOne` of the spec, all of its fields."""
    return {
        "_id": ObjectId(),
        "user_id": user,
        "course_id": course,
        "progress": {
            "percentage": 68.5,
            "completed_lessons": 1,
            "total_lessons": len(lessons),
            "current_lesson_id": lessons[1],
            "estimated_completion_date": day(45),
        },
        "time_tracking": {
            "total_seconds": 25200,
            "session_count": 15,
            "average_session_duration": 1680,
            "longest_session": 3600,
            "last_activity": day(21),
        },
        "lesson_progress": _lesson_progress(lessons),
        "performance": {
            "quiz_average": 87.5,
            "assignment_average": 92.0,
            "engagement_score": 8.5,
            "consistency_score": 7.8,
            "skills_progress": [{"skill": "JavaScript", "proficiency": 0.75, "improvement_rate": 0.15}],
        },
        **_of_the_platform(),
        "social": {
            "discussion_posts": 12,
            "questions_asked": 8,
            "answers_given": 5,
            "peer_interactions": 25,
            "study_group_participations": 3,
        },
        "certificates": [_certificate()],
        "enrollment_date": day(1),
        "last_accessed": day(21.5),
        "created_at": day(1),
        "updated_at": day(22),
        **fields,
    }


def _lesson_progress(lessons: list[ObjectId]) -> list[Document]:
    quiz = {"score": 85, "total_questions": 5, "correct_answers": 4, "attempts": 2, "time_taken": 180}
    return [
        {
            "lesson_id": lessons[0],
            "status": "completed",
            "progress_percentage": 100,
            "time_spent": 900,
            "attempts": 1,
            "started_at": day(9),
            "completed_at": day(9),
            "quiz_results": quiz,
            "notes": "Great explanation of async/await concepts",
        },
        {
            "lesson_id": lessons[1],
            "status": "in_progress",
            "progress_percentage": 40.25,
            "time_spent": 120.5,
            "attempts": 1,
            "started_at": day(10),
        },
    ]


def _certificate() -> Document:
    return {
        "_id": ObjectId(),
        "type": "completion",
        "issued_at": day(20),
        "certificate_url": "https://certs.example.com/cert123.pdf",
        "verification_code": "CERT-2024-ABC123",
        "valid_until": None,
    }


def _of_the_platform() -> Document:
    """Fields that the worker does not write."""
    achievement = {
        "_id": ObjectId(),
        "type": "streak",
        "title": "7-Day Study Streak",
        "description": "Studied for 7 consecutive days",
        "earned_at": day(14),
        "points": 100,
    }
    analytics = {
        "study_patterns": {"preferred_time_slots": ["09:00-11:00"], "retention_rate": 0.85},
        "learning_velocity": {"concepts_per_hour": 2.3},
    }
    return {"achievements": [achievement], "learning_analytics": analytics}
