"""What happens around the learners: people register, courses are written, reviewed, revised, paid for and left.

Each scenario is an author with one course and all that belongs to it. Two scenarios after another want the same
address, name and slug, in either order; of three relationships one closes a cycle; some steps are illegal. In the end
most let go of what they contested, so that never many wait for what they ask for.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any

from tests.chaos.scenarios import courses, learner_id, learner_writer, scenarios
from tests.chaos.steps import (
    ACCOUNTS,
    BEGIN,
    BILLING,
    CONTENT,
    MAIL,
    OWN,
    Step,
    Writer,
    interleaved,
)
from worker.contract.identity import foreign_object_id

_SIDE_BY_SIDE = 24  # threads under way at a time, of two or three scenarios
# So many records of learners, and of the platform, to one account that begins: each learner has some ten.
_RECORDS_AN_ACCOUNT = 18
_LAUNCH = BEGIN - timedelta(days=30)  # when the learners' courses are published, and accounts opened
_PLATFORM_BEGIN = BEGIN + timedelta(days=1)
_FAR_AHEAD = "2099-01-01T00:00:00.000Z"  # the server removes no promotion meanwhile
_BEHIND_IT = "2100-01-01T00:00:00.000Z"


def everything(seed: int) -> Iterator[Step]:
    """Learners, and the platform around them, to equal parts; without an end, the same for the same seed."""
    yield from opening(seed)
    learners, platform, people = scenarios(seed), platform_scenarios(seed), registrations(seed)
    for number in count():
        yield next(learners)
        yield next(platform)
        if number % _RECORDS_AN_ACCOUNT == 0:
            yield next(people)


def opening(seed: int) -> Iterator[Step]:
    """The records of the courses that the learners take, and of who teaches them."""
    random = _random("opening", seed)
    known = courses()
    for number, instructor in enumerate(dict.fromkeys(course.instructor_id for course in known)):
        details = {**_names(f"instructor-{number}"), "roles": ["instructor"]}
        yield _writer(random, ACCOUNTS, "user", instructor, _LAUNCH).ok("user_registered", details=details)
    for course in known:
        writer = _writer(random, CONTENT, "course", course.course_id, _LAUNCH)
        created = _new_course(f"base-{course.number}", course.instructor_id)
        yield writer.ok("course_created", details=created)
        yield writer.ok(
            "curriculum_published", details={"curriculum": _curriculum(course.course_id, course.lessons)}
        )
        yield writer.ok("course_submitted")
        yield writer.ok("course_published")
        yield writer.ok("course_version_created", details=_version("1.0"))
        yield writer.ok("course_version_deployed", details={"version": "1.0"})


def registrations(seed: int) -> Iterator[Step]:
    """Every second learner has an account, some long after the first lesson; half of them want no messages."""
    random = _random("registrations", seed)
    for number in count(0, 2):
        wanted = number % 4 == 0
        preferences = {
            "language": "en",
            "timezone": "Europe/Berlin",
            "notifications": {"email_course_updates": wanted, "push_notifications": wanted},
        }
        writer = _writer(random, ACCOUNTS, "user", learner_id(seed, number), _LAUNCH)
        details = {**_names(f"learner-{seed}-{number}"), "preferences": preferences}
        yield writer.ok("user_registered", details=details)


def platform_scenarios(seed: int) -> Iterator[Step]:
    """The scenarios' records in the order of publishing, without an end."""
    random = _random("platform", seed)
    threads = (thread for number in count() for thread in Scenario(seed, number, random).threads())
    return interleaved(random, threads, _SIDE_BY_SIDE)


class Scenario:
    """One author, and everything that belongs to the course; what is special turns with the number."""

    def __init__(self, seed: int, number: int, random: Random) -> None:
        self._seed, self._number, self._random = seed, number, random
        self._pair = f"{seed}-{number // 2}"
        self._own = f"{seed}-{number}"
        # One pair of five never lets go of what it contests.
        self._insists = number // 2 % 5 == 1
        # Pairs are ten minutes apart. In every second one who is published later begins earlier, by five minutes.
        after_s = number // 2 * 600 + (300 if number % 4 in (0, 3) else 0)
        self._begin = _PLATFORM_BEGIN + timedelta(seconds=after_s)
        self.author, self.course = self._id("author"), self._id("course")
        self.lessons = tuple(self._id(f"lesson {each}") for each in (1, 2, 3))

    def threads(self) -> Sequence[Iterator[Step]]:
        """What happens to each thing in its order; things do not wait for each other."""
        return [
            self._account(),
            self._course(),
            self._learner(),
            self._article(),
            self._relationships(),
            self._payment(),
            self._workflow(),
            self._exercise(),
            self._instalments(),
            self._block(),
            self._promotion(),
            self._mistake(),
        ]

    def _account(self) -> Iterator[Step]:
        writer = self._writer(ACCOUNTS, "user", self.author)
        profile = {"firstName": "Ada", "lastName": f"Author {self._number}", "bio": "Writes courses"}
        yield writer.ok(
            "user_registered",
            details={
                **_names(f"author-{self._pair}"),
                "profile": profile,
                "preferences": {"language": "en", "timezone": "Europe/Berlin"},
                "roles": ["instructor"],
            },
        )
        yield writer.ok("login_failed")
        yield writer.ok("logged_in")
        yield writer.ok("profile_changed", details={"profile": {"bio": None, "displayName": "Dr. Ada"}})
        yield writer.ok("preferences_changed", details={"preferences": {"timezone": "America/Los_Angeles"}})
        yield writer.ok("email_verified")
        yield writer.ok("role_granted", details={"role": "reviewer"})
        yield writer.ok("password_changed")
        yield writer.ok("keywords_changed", details={"keywords": ["courses", f"author {self._own}"]})
        own_names = _names(f"author-{self._own}-own")
        if not self._insists:
            yield writer.ok("email_changed", details={"email": own_names["email"]})
            yield writer.ok("username_changed", details={"username": own_names["username"]})
        if self._number % 7 == 3:
            yield writer.ok("user_deleted")

    def _course(self) -> Iterator[Step]:
        """With a version that was never created, a step in the wrong status, and a slug that another wants, too."""
        writer = self._writer(CONTENT, "course", self.course)
        yield writer.ok("course_created", details=_new_course(f"course-{self._pair}", self.author))
        described = writer.ok(
            "course_described",
            details={
                "subtitle": "In three lessons",
                "metadata": {"tags": ["one", "two"], "duration": {"total_minutes": 90}},
                "learning": {"objectives": ["Know what there is to know"]},
                "instructor": {"bio": "Wrote it", "credentials": ["MSc"]},
            },
        )
        yield described
        yield writer.ok("curriculum_published", details=self._lessons(2))
        yield writer.ok("course_submitted")
        yield writer.ok("course_published")
        yield writer.ok("course_version_created", details=_version("1.0"))
        yield writer.ok("course_version_approved", details={"version": "1.0", "approved_by": self.author})
        yield writer.ok("course_version_deployed", details={"version": "1.0"})
        yield writer.again(described)
        yield writer.ok("course_priced", details={"pricing": _PRICING})
        yield writer.ok("curriculum_published", details=self._lessons(3))
        yield writer.ok("course_version_created", details={**_version("2.0"), "type": "major"})
        yield writer.ok("course_version_deployed", details={"version": "2.0"})
        yield writer.ok("course_version_deployed", details={"version": "3.0"})
        yield writer.ok("course_version_rolled_back", details={"version": "2.0", "rollback_version": "1.0"})
        yield writer.ok(
            "course_media_changed", details={"media": {"gallery": ["https://cdn.example.com/1.jpg"]}}
        )
        if not self._insists:
            yield writer.ok("course_described", details={"slug": f"course-{self._own}-own"})
        if self._number % 3 == 0:
            yield writer.ok("course_archived")
            yield writer.ok("course_published")
        if self._number % 6 == 1:
            yield writer.ok("course_deleted")

    def _learner(self) -> Iterator[Step]:
        """Takes the course while it is written, is moved to another curriculum, and has the money back."""
        learner, transaction = self._id("learner"), f"enrol-{self._own}"
        writer = learner_writer(self._random, learner, self.course, self._begin)
        paid = {"transaction_id": transaction, "amount": "199.99", "currency": "USD", "method": "card"}
        yield writer.ok("course_enrolled", details={"payment": paid})
        billing = self._billing(transaction, learner, after_s=60)
        yield writer.ok("lesson_started", lesson_id=self.lessons[0])
        yield billing.ok("payment_made", details=paid)
        yield writer.ok("complete", lesson_id=self.lessons[0])
        yield billing.ok("payment_refunded", details={"transaction_id": transaction, "reason": "left"})
        yield writer.ok("quiz_submitted", lesson_id=self.lessons[1], details={"score": 80})
        migrated_at = self._begin + timedelta(seconds=90)
        own = learner_writer(self._random, learner, self.course, migrated_at, OWN)
        listed = b64encode(b"".join(map(bytes.fromhex, self.lessons))).decode()
        moved = {"version": "2.0", "total_lessons": len(self.lessons), "lessons": listed}
        yield own.ok("curriculum_migrated", details=moved)
        yield writer.ok("complete", lesson_id=self.lessons[1])
        yield writer.ok("course_rated", value=1 + self._number % 5)
        yield writer.ok("complete", lesson_id=self.lessons[2])

    def _article(self) -> Iterator[Step]:
        writer = self._writer(CONTENT, "content", self._id("article"))
        text = "# Sorting\n\nWhat is out of order is put in order, step by step."
        content = {"markdown_content": text}
        details = {"type": "article", "title": "On sorting", "content": content}
        yield writer.ok("lesson_content_created", lesson_id=self.lessons[0], details=details)
        yield writer.ok("lesson_content_changed", details={"type": "article", "title": "Sorting"})
        changed = {"type": "article", "content": {"markdown_content": f"{text} {self._number}"}}
        yield writer.ok("lesson_content_changed", details=changed)
        if self._number % 4 == 0:
            yield writer.ok("lesson_content_deleted")

    def _exercise(self) -> Iterator[Step]:
        """Of each kind in turn; in the end it becomes a video."""
        kind = ("quiz", "interactive", "assignment", "video")[self._number % 4]
        writer = self._writer(CONTENT, "content", self._id("exercise"))
        details = {"type": kind, "title": "Try it", "content": _CONTENT_OF[kind]}
        yield writer.ok("lesson_content_created", lesson_id=self.lessons[1], details=details)
        video = {"type": "video", "content": _CONTENT_OF["video"]}
        yield writer.ok("lesson_content_changed", details=video)

    def _block(self) -> Iterator[Step]:
        writer = self._writer(CONTENT, "block", self._id("block"))
        content = {"markdown": "# Algorithms\n\nAlgorithms are procedures, step by step."}
        made = writer.ok(
            "content_block_created", details={"type": "rich_text", "version": "1.0", "content": content}
        )
        yield made
        features = {"features": {"interactive_diagrams": True}}
        yield writer.ok("content_block_changed", details={"version": "1.1", "config": features})
        yield writer.contradicting(made)
        yield writer.ok("content_block_changed", details={"content": {"html": "<p>Algorithms</p>"}})
        if self._number % 4 == 1:
            yield writer.ok("content_block_deleted")

    def _relationships(self) -> Iterator[Step]:
        """Three things below each other, in a circle; which of them closes it depends on when each was said.

        In the end the first one goes, and the one that gave way stands.
        """
        things = (self._id("block"), *self.lessons[:2])
        moments = (0, 20, 10) if self._number % 2 else (0, 10, 20)
        writers = []
        for number, after_s in enumerate(moments):
            relationship = self._id(f"relationship {number}")
            writer = self._writer(CONTENT, "relationship", relationship, after_s=after_s)
            ends = {"parent_id": things[number], "child_id": things[(number + 1) % 3]}
            yield writer.ok("content_related", details={**ends, "relationship_type": "contains"})
            writers.append(writer)
        yield writers[1].ok("content_relationship_changed", details={"order": 4})
        yield writers[0].ok("content_unrelated")

    def _workflow(self) -> Iterator[Step]:
        """A review with three illegal steps, one that goes back, and a comment."""
        writer = self._writer(CONTENT, "workflow", self._id("workflow"))
        stages = [{"name": "draft", "assigned_to": self.author}, {"name": "review"}]
        yield writer.ok(
            "workflow_started",
            details={"content_id": self.course, "workflow_type": "course_publication", "stages": stages},
        )
        draft, review = {"stage": "draft"}, {"stage": "review"}
        yield writer.ok("workflow_stage_completed", details=draft)
        yield writer.ok("workflow_stage_started", details=review)
        yield writer.ok("workflow_stage_started", details=draft)
        yield writer.ok(
            "workflow_commented", details={**draft, "comment": "Nearly there", "author": self.author}
        )
        yield writer.ok("workflow_stage_completed", details=draft)
        yield writer.ok("workflow_stage_assigned", details={**review, "assigned_to": self.author})
        yield writer.ok("workflow_stage_started", details=review)
        yield writer.ok("workflow_stage_rejected", details={**review, "return_to": "draft"})
        yield writer.ok("workflow_stage_completed", details=review)
        yield writer.ok("workflow_stage_started", details=draft)
        if self._number % 3 == 0:
            yield writer.ok("workflow_cancelled")

    def _promotion(self) -> Iterator[Step]:
        """With a change after which it would begin behind its end, and one after it has ended."""
        writer = self._writer(BILLING, "promotion", self._id("promotion"))
        details = {"code": f"SPRING-{self._own}", "course_id": self.course, "discount_percentage": 20}
        times = {"starts_at": "2026-01-01T00:00:00.000Z", "expires_at": _FAR_AHEAD}
        yield writer.ok("promotion_created", details={**details, **times})
        yield writer.ok("promotion_changed", details={"amount": "5.00", "currency": "USD"})
        yield writer.ok("promotion_changed", details={"starts_at": _BEHIND_IT})
        if self._number % 2:
            yield writer.ok("promotion_ended")
        yield writer.ok("promotion_changed", details={"name": "Spring sale"})

    def _payment(self) -> Iterator[Step]:
        """Fails, succeeds, fails again when all is paid, is given back in part, and then for more than is left."""
        transaction = f"paid-{self._own}"
        writer = self._billing(transaction, self._id("buyer"))
        named = {"transaction_id": transaction}
        card = {**named, "amount": "199.99", "currency": "USD", "method": "card"}
        yield writer.ok("payment_failed", details={**card, "reason": "declined"})
        yield writer.ok("payment_made", details=card)
        yield writer.ok("payment_failed", details={**card, "reason": "declined"})
        yield writer.ok("payment_refunded", details={**named, "amount": "50.00", "currency": "USD"})
        yield writer.ok("payment_refunded", details={**named, "amount": "180.00", "currency": "USD"})
        yield writer.ok("payment_made", user_id=self._id("somebody else"), details=card)

    def _instalments(self) -> Iterator[Step]:
        """Three, out of order, the second one twice; in the end all is given back, now and then."""
        transaction = f"parts-{self._own}"
        writer = self._billing(transaction, self._id("second buyer"))
        part = {"transaction_id": transaction, "of": 3, "currency": "USD", "method": "card"}
        yield writer.ok("instalment_paid", details={**part, "number": 2, "amount": "66.67"})
        yield writer.ok("instalment_paid", details={**part, "number": 1, "amount": "66.67"})
        yield writer.ok("instalment_paid", details={**part, "number": 2, "amount": "70.00"})
        yield writer.ok("instalment_paid", details={**part, "number": 3, "amount": "66.65"})
        if self._number % 3 == 1:
            yield writer.ok("payment_refunded", details={"transaction_id": transaction})

    def _mistake(self) -> Iterator[Step]:
        """What is wrong in itself, a different thing in turn, becomes a dead letter."""
        match self._number % 3:
            case 0:
                wrong = {"pricing": {"type": "free", "price": {"amount": "5.00", "currency": "USD"}}}
                writer = self._writer(CONTENT, "course", self._id("course of a mistake"))
                yield writer.poison("invalid_field", "course_priced", details=wrong)
            case 1:
                writer = self._writer(ACCOUNTS, "user", self._id("user of a mistake"))
                yield writer.poison("forbidden_field", "logged_in", details={"password_hash": "x"})
            case _:
                # Only the worker itself says so, and only on a topic of its own.
                lesson = b64encode(bytes.fromhex(self.lessons[0])).decode()
                learner, moved = self._id("learner"), {"total_lessons": 1, "lessons": lesson}
                writer = learner_writer(self._random, learner, self.course, self._begin, CONTENT)
                yield writer.poison("unknown_event_type", "curriculum_migrated", details=moved)

    def _lessons(self, number: int) -> dict[str, Any]:
        return {"curriculum": _curriculum(self.course, self.lessons[:number])}

    def _billing(self, transaction: str, user: str, after_s: float = 0) -> Writer:
        """Who writes what becomes of a transaction for the course."""
        stream = f"transaction_{foreign_object_id(transaction)}"
        ids = {"user_id": user, "course_id": self.course}
        return Writer(self._random, stream, ids, self._begin + timedelta(seconds=after_s), BILLING)

    def _writer(self, topic: str, entity: str, identity: str, after_s: float = 0) -> Writer:
        return _writer(self._random, topic, entity, identity, self._begin + timedelta(seconds=after_s))

    def _id(self, what: str) -> str:
        return str(foreign_object_id(f"{what} of scenario {self._own}"))


_PRICING: Mapping[str, Any] = {
    "type": "paid",
    "price": {"amount": "199.99", "currency": "USD", "original_price": "299.99"},
    "payment_plans": [{"type": "installments", "installments": 3, "price_per_installment": "66.67"}],
}
_CONTENT_OF: Mapping[str, Mapping[str, Any]] = {
    "quiz": {
        "questions": [{"question": "What is sorted?", "type": "text", "points": 2}],
        "passing_score": 70,
    },
    "interactive": {"editor_type": "code", "initial_code": "sorted([2, 1])", "hints": ["Look it up"]},
    "assignment": {"instructions": "Sort by hand", "max_points": 10, "submission_types": ["text"]},
    "video": {"video_url": "https://video.example.com/sorting.mp4", "duration": 90},
}


def _random(what: str, seed: int) -> Random:
    return Random(f"{what} {seed}")  # noqa: S311 - a repeatable order, not a secret


def _writer(random: Random, topic: str, entity: str, identity: str, begin: datetime) -> Writer:
    return Writer(random, f"{entity}_{identity}", {f"{entity}_id": identity}, begin, topic)


def _names(name: str) -> dict[str, str]:
    return {"email": f"{name}@{MAIL}", "username": name}


def _new_course(slug: str, instructor: str) -> dict[str, Any]:
    return {
        "title": "Sorting by Hand",
        "slug": slug,
        "instructor_id": instructor,
        "description": {"short": "What is out of order is put in order"},
        "metadata": {"category": "Skills", "level": "beginner", "language": "en"},
    }


def _curriculum(course: str, lessons: Sequence[str]) -> list[dict[str, Any]]:
    """One module; its lessons have topics and skills."""
    return [
        {
            "_id": str(foreign_object_id(f"module of {course}")),
            "title": "The whole course",
            "order": 1,
            "lessons": [
                {
                    "_id": lesson,
                    "title": f"Lesson {number}",
                    "type": "video",
                    "order": number,
                    "topic": f"topic {number} of {len(lessons)}",
                    "skills": ["sorting"],
                }
                for number, lesson in enumerate(lessons, start=1)
            ],
        }
    ]


def _version(number: str) -> dict[str, Any]:
    return {"version": number, "type": "patch", "summary": f"version {number}", "changes": ["all of it"]}
