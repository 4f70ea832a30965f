"""Invariant 6: what was counted, and the statistics of courses and users, recomputed from the progress documents."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from bson import ObjectId

from tests.oracle.billing import added, revenues
from tests.oracle.case import Case
from tests.oracle.decimals import mean, rounded
from tests.oracle.finding import miscounted, unequal
from tests.oracle.stored import Document

_WHOLE = 10_000
_LOG_LENGTH = 100
_ENROLMENT = "course_enrollment"
_STARS = (1, 2, 3, 4, 5)
_NAMES = (
    *("enrolled", "active", "completed", "progress", "rated", "rating"),
    *(f"stars_{star}" for star in _STARS),
    *("discussion_posts", "questions_asked", "certificates"),
)
_LEARNING = ("enrolled", "completed", "certificates")
_TEACHING = ("enrolled", "rated", "rating")

# In one unit of a currency, as sums are kept.
_UNITS = 10_000

Sums = Mapping[str, int]


@dataclass(frozen=True)
class _Teaching:
    """What an instructor's courses add up to."""

    sums: Sums
    students: int = 0
    courses: int = 0
    revenue: Mapping[str, Decimal] = field(default_factory=dict)


def counted_learners(case: Case) -> Iterator[str]:
    """Every progress document has its projection, which says what of it was counted."""
    found = Counter(document["stream_id"] for document in case.stored.projections)
    wanted = Counter(each["stream_id"] for each in case.stored.counted_progress)
    yield from miscounted("projection", wanted, found)
    records = {document["stream_id"]: document for document in case.stored.counted_progress}
    for document in case.stored.projections:
        record = records.get(document["stream_id"])
        if record is None:
            continue
        subject = f"projection of {document['stream_id']}"
        yield from unequal(subject, _projection(record), document)
        yield from unequal(subject, sorted(_milestones(record)), sorted(document["emitted"]), "emitted")


def course_statistics(case: Case) -> Iterator[str]:
    """`courses.stats` is what the records of the course's learners add up to, for every course that exists."""
    sums = _sums(case.stored.counted_progress, lambda record: record["course_id"])
    for course in case.stored.courses:
        stats = course.get("stats") or {}
        if course["_id"] in sums or "sums" in stats:
            total = sums.get(course["_id"], _nothing())
            yield from unequal(f"course {course['_id']}", _course_stats(total), stats, "stats")


def social_proofs(case: Case) -> Iterator[str]:
    """Every course that presents its instructor shows what all of the instructor's courses add up to.

    Of instructors of whom anything is kept.
    """
    kept = {row["_id"] for row in case.stored.content("instructor_statistics")}
    taught = _taught(case)
    for course in case.stored.courses:
        instructor, shown = _instructor(course), course.get("instructor")
        if instructor is not None and instructor in kept and isinstance(shown, Mapping):
            teaching = taught[instructor]
            proof = {
                "students_taught": teaching.students,
                "courses_created": teaching.courses,
                "average_rating": _stars(teaching.sums),
            }
            subject = f"course {course['_id']}"
            yield from unequal(subject, {"social_proof": proof}, shown, "instructor")


def user_statistics(case: Case) -> Iterator[str]:
    """`users.stats` is what the user's own records, and those of the courses they teach, add up to."""
    learning = _sums(case.stored.counted_progress, lambda record: record["user_id"])
    teaching = _taught(case)
    for user in case.stored.users:
        own, taught, stats = learning.get(user["_id"]), teaching.get(user["_id"]), user.get("stats") or {}
        if own is None and "sums" not in stats and (taught is None or not taught.sums["enrolled"]):
            continue
        if taught is None and "teaching" in stats.get("sums", {}):
            taught = _Teaching(_nothing())
        yield from unequal(f"user {user['_id']}", _user_stats(own or _nothing(), taught), stats, "stats")


def instructors(case: Case) -> Iterator[str]:
    """`instructor_statistics` keeps the sums of everybody who teaches somebody, whether a user or not."""
    taught = _taught(case)
    rows = {row["_id"]: row for row in case.stored.content("instructor_statistics")}
    for instructor in taught.keys() | rows.keys():
        teaching = taught.get(instructor, _Teaching(_nothing()))
        if instructor in rows or teaching.sums["enrolled"]:
            wanted = {"_id": instructor, **_kept(teaching)}
            yield from unequal(f"instructor {instructor}", wanted, rows.get(instructor), "statistics")


def course_revenues(case: Case) -> Iterator[str]:
    """`course_revenue` is what was paid for each course and not given back, by currency."""
    rows = {row["_id"]: row["revenue"] for row in case.stored.content("course_revenue")}
    paid = revenues(case)
    named = {row["course_id"] for row in case.stored.billing if "stream_id" in row}
    for course in named | rows.keys():
        wanted = _units(paid.get(course, {}))
        if wanted or course in rows:
            yield from unequal(f"course {course}", wanted, rows.get(course), "revenue")
            for currency in (rows.get(course) or {}).keys() - wanted.keys():
                yield f"course {course} has a revenue in {currency}, in which nobody paid"


def activity_logs(case: Case) -> Iterator[str]:
    """`users.activity_log` has one enrolment per course, dated as in the record, in order, the last hundred."""
    enrolments: dict[ObjectId, list[tuple[Any, Any]]] = defaultdict(list)
    for record in case.stored.counted_progress:
        if record["enrollment_date"] is not None:
            enrolments[record["user_id"]].append((record["enrollment_date"], record["course_id"]))
    for user in case.stored.users:
        log = user.get("activity_log") or []
        ours = [(one["timestamp"], one["course_id"]) for one in log if one.get("action") == _ENROLMENT]
        wanted = sorted(enrolments[user["_id"]])[-_LOG_LENGTH:]
        if sorted(ours) != wanted:
            yield f"user {user['_id']} shows {len(ours)} enrolments in its activity log, not {len(wanted)}"
        elif ours != wanted:
            yield f"user {user['_id']} has an activity log that is out of order"


def vector(record: Document) -> Sums:
    """What one record adds; a record of nothing but voids adds nothing."""
    if record["created_at"] is None:
        return _nothing()
    completed = record["milestones"]["completed"] is not None
    rating = None if record["rating"] is None else rounded(record["rating"]["value"], 100)
    stars = None if rating is None else (rating + 50) // 100
    return {
        "enrolled": 1,
        "active": int(record["status"] == "active" and not completed),
        "completed": int(completed),
        "progress": rounded(record["progress"]["percentage"], 100),
        "rated": int(rating is not None),
        "rating": rating or 0,
        **{f"stars_{star}": int(star == stars) for star in _STARS},
        **{name: record["social"][name] for name in ("discussion_posts", "questions_asked")},
        "certificates": len(record["certificates"]),
    }


def _projection(record: Document) -> Mapping[str, Any]:
    progress, times = record["progress"], record["time_tracking"]
    return {
        **{name: record[name] for name in ("_id", "stream_id", "user_id", "course_id")},
        "current_state": {
            "progress_percentage": progress["percentage"],
            "current_lesson": progress["current_lesson_id"],
            "total_time_spent": times["total_seconds"],
            "last_activity": times["last_activity"],
            "status": record["status"],
        },
        "last_event_version": record["version"],
        "last_updated": record["recorded_at"],
        "source_rev": record["rev"],
        "counts_version": 3,
        "counted": vector(record),
        "enrolled_at": record["enrollment_date"],
    }


def _milestones(record: Document) -> Iterator[str]:
    for kind, name in (("welcome", "welcome"), ("completion", "completed")):
        if record["milestones"][name] is not None:
            yield kind


def _sums(records: Sequence[Document], key: Callable[[Document], ObjectId]) -> Mapping[ObjectId, Sums]:
    groups: dict[ObjectId, list[Sums]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(vector(record))
    return {name: _added(group) for name, group in groups.items()}


def _taught(case: Case) -> Mapping[ObjectId, _Teaching]:
    """Over the existing courses of each instructor; a learner counts once, in however many of them."""
    records = case.stored.counted_progress
    courses = _sums(records, lambda record: record["course_id"])
    groups: dict[ObjectId, list[Document]] = defaultdict(list)
    for course in case.stored.courses:
        instructor = _instructor(course)
        if instructor is not None:
            groups[instructor].append(course)
    taught: dict[ObjectId, _Teaching] = {}
    paid = revenues(case)
    for name, group in groups.items():
        own = [course["_id"] for course in group]
        taught[name] = _Teaching(
            _added([courses[each] for each in own if each in courses]),
            students=len({record["user_id"] for record in records if record["course_id"] in own}),
            courses=sum(course.get("deleted_at") is None for course in group),
            revenue=added(paid, own),
        )
    return taught


def _instructor(course: Document) -> ObjectId | None:
    named = (course.get("instructor_id"), (course.get("instructor") or {}).get("user_id"))
    return next((each for each in named if isinstance(each, ObjectId)), None)


def _added(vectors: Sequence[Sums]) -> Sums:
    return {name: sum(each[name] for each in vectors) for name in _NAMES}


def _nothing() -> Sums:
    return _added(())


def _course_stats(sums: Sums) -> Mapping[str, Any]:
    learners = sums["enrolled"]
    return {
        "enrollments": {"total": learners, "active": sums["active"], "completed": sums["completed"]},
        "ratings": {
            "average": _stars(sums),
            "total_reviews": sums["rated"],
            "distribution": {str(star): sums[f"stars_{star}"] for star in _STARS},
        },
        "engagement": {
            "completion_rate": sums["completed"] / learners if learners else 0.0,
            "average_progress": sums["progress"] / (_WHOLE * learners) if learners else 0.0,
            **{name: sums[name] for name in ("discussion_posts", "questions_asked")},
        },
        "sums": sums,
    }


def _user_stats(learning: Sums, teaching: _Teaching | None) -> Mapping[str, Any]:
    stats: dict[str, Any] = {
        "courses_enrolled": learning["enrolled"],
        "courses_completed": learning["completed"],
        "certificates_earned": learning["certificates"],
        "sums": {"learning": {name: learning[name] for name in _LEARNING}},
    }
    if teaching is not None:
        money = {name: float(amount) for name, amount in sorted(teaching.revenue.items())}
        stats |= {"courses_created": teaching.courses, "total_students": teaching.students}
        stats |= {
            "avg_rating": _stars(teaching.sums),
            "total_revenue": money.get("USD", 0.0),
            "revenue": money,
        }
        stats["sums"]["teaching"] = _kept(teaching)
    return stats


def _kept(teaching: _Teaching) -> Mapping[str, Any]:
    """The sums themselves, as they are stored."""
    return {
        **{name: teaching.sums[name] for name in _TEACHING},
        "students": teaching.students,
        "courses": teaching.courses,
        "revenue": _units(teaching.revenue),
    }


def _units(revenue: Mapping[str, Decimal]) -> Mapping[str, int]:
    return {name: int(amount * _UNITS) for name, amount in sorted(revenue.items())}


def _stars(sums: Sums) -> float:
    return mean(sums["rating"], sums["rated"]) / 100 if sums["rated"] else 0.0
