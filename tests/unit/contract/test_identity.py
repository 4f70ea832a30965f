"""A stream's name says what it is about, and nothing else passes for one."""

import hashlib

import pytest
from bson import ObjectId

from worker.contract.identity import parse_stream_id, stream_id, stream_object_id

# Fixed: they stand in the names of tests, which have to be the same in every process.
A, B = ObjectId("5f1d7f3e9d1c4b0001a0c0a1"), ObjectId("5f1d7f3e9d1c4b0001a0c0a2")


def test_a_learners_stream_names_course_and_learner() -> None:
    assert parse_stream_id(stream_id(A, B)) == {"course_id": A, "user_id": B}
    assert list(parse_stream_id(stream_id(A, B)) or ()) == ["course_id", "user_id"]


@pytest.mark.parametrize("entity", ["course", "user", "content"])
def test_a_stream_of_one_entity_names_it(entity: str) -> None:
    assert parse_stream_id(f"{entity}_{A}") == {f"{entity}_id": A}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "course",
        "course_",
        f"course_{A}_user",
        f"course_{A}_user_",
        f"course_{A}_user_{B}_",
        f"user_{B}_course_{A}",
        f"course_{str(A).upper()[:-1]}A",
        f"lesson_{A}",
        f"course_{A}\n",
        f"course__{A}",
    ],
)
def test_any_other_text_names_none(text: str) -> None:
    assert parse_stream_id(text) is None


def test_a_document_of_one_entity_has_its_id_and_a_learners_record_the_hash_of_its_stream() -> None:
    assert stream_object_id(f"content_{A}") == A
    assert stream_object_id(f"user_{B}") == B
    expected = hashlib.sha1(stream_id(A, B).encode(), usedforsecurity=False).digest()[:12]
    assert stream_object_id(stream_id(A, B)) == ObjectId(expected)
