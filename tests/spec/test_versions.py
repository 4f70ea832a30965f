"""The specification's version and history of versions: events that rebuild them, and where each field comes from."""

from typing import Any

from bson import ObjectId

from projections.content.versions.projection import COURSE_VERSIONS
from tests.spec.compare import sample, unexplained
from tests.spec.extract import paths
from tests.support.courses import CREATED, TEACHER, sent, story, version
from tests.unit.projections.test_versions import made
from worker.storage.database import Document
from worker.verify.shapes import misfits_of

COMPUTED = {
    "changes.detailed_changes[].description": "words for the difference of two snapshots: nobody writes them",
}
"""Of a version's sample what is worked out otherwise than the sample has it, with the reason."""
# The older version of the sample is of 2023-12-01; stories begin on 2024-03-01 at 9 o'clock.
_FORMER = -(91 * 86_400 + 9 * 3_600)


def lesson(number: int, video: str = "a") -> Document:
    content = {"video_url": f"https://video.example.com/{number}{video}.mp4"}
    return {
        "_id": f"{number:024x}",
        "title": f"Lesson {number}",
        "type": "video",
        "order": number,
        "content": content,
    }


def curriculum(*, revised: bool) -> list[Document]:
    """Six modules of three lessons; the revision adds three to the third, and changes one of the last."""
    modules: list[Document] = []
    for place in range(6):
        lessons = [lesson(10 * place + number) for number in range(1, 4)]
        if revised and place == 2:
            lessons += [lesson(10 * place + number) for number in range(4, 7)]
        if revised and place == 5:
            lessons[2] = lesson(10 * place + 3, "b")
        module = {"title": f"Module {place}", "order": place + 1, "lessons": lessons}
        modules.append({"_id": f"{1_000 + place:024x}", **module})
    return modules


def events(wanted: Any) -> list[Document]:
    """What producers send to make the version and its history."""
    change, metadata = wanted["changes"], wanted["metadata"]
    former, label = wanted["deployment"]["rollback_version"], wanted["version"]
    title = wanted["course_snapshot"]["title"]
    told = {"type": change["type"], "summary": change["summary"], "approved_by": TEACHER}
    said = {
        name: metadata[name] for name in ("migration_required", "backward_compatible", "breaking_changes")
    }
    return [
        sent("course_created", _FORMER - 20, 1, **{**CREATED, "title": title}),
        sent("curriculum_published", _FORMER - 10, 2, curriculum=curriculum(revised=False)),
        sent("course_version_created", _FORMER, 3, **version(former)),
        sent("course_version_deployed", _FORMER + 10, 4, version=former),
        sent("curriculum_published", 0, 5, curriculum=curriculum(revised=True)),
        sent("course_version_created", 10, 6, **{**version(label), **told, **said}),
        sent("course_version_deployed", 20, 7, version=label),
    ]


def test_events_rebuild_the_version_and_the_history_of_the_specification() -> None:
    wanted, wanted_history = sample("course_versions"), sample("version_history")
    arrived = story(events(wanted))
    history = {"rev": 1, **COURSE_VERSIONS.refold(arrived, None, "live")}
    history["_id"] = history["entity_id"]
    placed = {"rev": 1, "stream_id": "s", "slot": 1, "event_version": 7, "projection_version": 1}
    document = {**made(history, arrived)[wanted["version"]], **placed}

    assert unexplained(wanted, document, COMPUTED) == []
    assert set(COMPUTED) <= set(paths(wanted)), "each exception is a field of the specification"
    assert unexplained(wanted_history, history, {}) == []
    assert COURSE_VERSIONS.parts is not None
    for shapes, found in (
        (COURSE_VERSIONS.target.shapes, history),
        (COURSE_VERSIONS.parts.target.shapes, document),
    ):
        assert misfits_of(shapes, found) == []
    descriptions = [each["description"] for each in document["changes"]["detailed_changes"]]
    assert descriptions == [
        "3 lessons ('Lesson 24', 'Lesson 25', 'Lesson 26') added",
        "content of 'Lesson 53' changed",
    ]
    assert document["metadata"]["approved_by"] == ObjectId(TEACHER)
