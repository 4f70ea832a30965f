"""What is stamped on the events of a known course, however odd its document; and how long it is remembered."""

from typing import Any

import pytest
from bson import ObjectId

from tests.support.clocks import ManualClock
from tests.unit.ingest.samples import COURSE, LEARNER, event
from worker.ingest.enrich.cache import AgedCache
from worker.ingest.enrich.course import KnownCourse, known_course
from worker.ingest.enrich.stamps import Stamps, time_zone
from worker.storage.curriculum import listed_lessons
from worker.storage.lesson_lists import lesson_list_id

MODULE, LESSON, OTHER = ObjectId("a" * 24), ObjectId("b" * 24), ObjectId("c" * 24)
DOCUMENT = {
    "publication": {"version": "2.1.0"},
    "curriculum": [
        {
            "_id": MODULE,
            "lessons": [
                {"_id": LESSON, "type": "video", "topic": "Closures", "skills": ["JavaScript", 7, ""]},
                {"_id": OTHER, "type": "quiz"},
            ],
        }
    ],
}
LIST = lesson_list_id(LESSON.binary + OTHER.binary)


def stamps(document: dict[str, Any] = DOCUMENT) -> Stamps:
    course = known_course(document)
    return Stamps({} if course is None else {COURSE: course}, {LEARNER: "Europe/Berlin"})


def test_an_event_of_a_lesson_has_version_module_type_topic_and_skills() -> None:
    assert stamps().curriculum(event(lesson_id=LESSON), 2) == {
        "version": "2.1.0",
        "module_id": MODULE,
        "lesson_type": "video",
        "topic": "Closures",
        "skills": ["JavaScript"],
    }
    assert stamps().time_zone(event()) == "Europe/Berlin"


def test_an_event_of_no_known_lesson_has_the_version_alone() -> None:
    assert stamps().curriculum(event(lesson_id=ObjectId()), 2) == {"version": "2.1.0"}
    assert stamps().curriculum(event(), 2) == {"version": "2.1.0"}


def test_the_first_event_and_every_enrolment_name_the_list_of_lessons() -> None:
    enrolment = event(event_type="course_enrolled")
    assert stamps().curriculum(event(), 1) == {"version": "2.1.0", "lesson_list": LIST}
    assert stamps().curriculum(enrolment, 5) == {"version": "2.1.0", "lesson_list": LIST, "total_lessons": 2}
    said = event(event_type="course_enrolled", details={"total_lessons": 9})
    assert stamps().curriculum(said, 5) == {"version": "2.1.0", "lesson_list": LIST}


def test_an_event_of_another_kind_of_stream_or_of_an_unknown_course_has_no_stamp() -> None:
    about_the_course = event(about=("course",))
    assert (stamps().curriculum(about_the_course, 1), stamps().time_zone(about_the_course)) == (None, None)
    assert (Stamps().curriculum(event(), 1), Stamps().time_zone(event())) == (None, None)


@pytest.mark.parametrize(
    "lessons",
    [
        [{"_id": LESSON}, {"_id": LESSON}],
        [{"_id": LESSON}, {"_id": "text"}],
        [{"_id": LESSON}, 7],
        [{"_id": LESSON}, *({"_id": ObjectId()} for _ in range(5_000))],
    ],
)
def test_lessons_that_are_not_known_for_certain_are_counted_and_not_listed(lessons: list[Any]) -> None:
    document = {"curriculum": [{"lessons": lessons}]}
    assert listed_lessons(document) is None
    enrolment = event(event_type="course_enrolled")
    assert stamps(document).curriculum(enrolment, 1) == {"version": None, "total_lessons": len(lessons)}


@pytest.mark.parametrize(
    "odd",
    [
        {"_id": LESSON, "type": 7, "topic": ["x"], "skills": "SQL"},
        {"_id": LESSON, "type": "x" * 101, "topic": "", "skills": {"a": 1}},
    ],
)
def test_what_makes_no_sense_in_a_lesson_stays_unknown(odd: dict[str, Any]) -> None:
    document = {
        "curriculum": [{"_id": "m", "lessons": [odd]}, None, 5, {"lessons": "text"}, {"lessons": None}]
    }
    assert stamps(document).curriculum(event(lesson_id=LESSON), 2) == {"version": None}


def test_the_list_is_that_of_the_job_that_migrates_learners() -> None:
    modules = [{"lessons": [{"_id": ObjectId()} for _ in range(number)]} for number in (3, 0, 2_000, 2_997)]
    course = known_course({"curriculum": modules})
    assert course is not None
    assert course.ids == listed_lessons({"curriculum": modules})
    assert course.ids is not None


def test_lessons_that_say_the_same_share_their_stamp() -> None:
    lessons = [{"_id": ObjectId(), "type": "video", "topic": "t" * 100} for _ in range(300)]
    course = known_course({"curriculum": [{"_id": MODULE, "lessons": lessons}]})
    assert isinstance(course, KnownCourse)
    assert len({id(stamp) for stamp in course.lessons.values()}) == 1
    assert course.size_bytes < 100_000


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "", "x" * 500, 7, None, ["Europe/Berlin"], "../../etc/passwd"]
)
def test_a_time_zone_that_is_none_is_not_known(zone: Any) -> None:
    assert time_zone({"preferences": {"timezone": zone}}) is None
    assert time_zone({"preferences": zone}) is None


def test_a_time_zone_is_known_by_its_name() -> None:
    assert time_zone({"preferences": {"timezone": "America/New_York"}}) == "America/New_York"


def test_what_is_cached_is_forgotten_in_time_and_where_there_is_no_room() -> None:
    clock = ManualClock()
    cache: AgedCache[int, str] = AgedCache(clock, age_s=30, entries=3, max_bytes=10, size=len)
    cache.put({1: "four"})
    clock.advance(20)
    cache.put({2: "four"})
    assert cache.look([1, 2, 3]) == ({1: "four", 2: "four"}, [3])
    clock.advance(10)
    assert cache.look([1, 2]) == ({2: "four"}, [1])
    cache.put({3: "fourfour"})
    assert cache.size_bytes == 12
    cache.trim()
    assert cache.look([2, 3]) == ({3: "fourfour"}, [2])
    cache.put(dict.fromkeys(range(10, 14), ""))
    cache.trim()
    assert len(cache) == 3
