"""xAPI video statements become events of the contract; real ones from a file where it is present."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.unit.contract.records import accepted
from worker.contract.codec import encode
from worker.contract.formats.xapi import TranslationError, translate
from worker.contract.identity import foreign_object_id

VIDEO = "https://w3id.org/xapi/video/extensions/"
STATEMENTS = Path(__file__).parents[4] / "shared" / "data" / "xapi-video-statements.json.gz"


def _statement(verb: str = "played", /, **changes: Any) -> dict[str, Any]:
    statement = {
        "id": "9dc99b37-e920-4a68-a066-917faca28949",
        "timestamp": "2021-11-29T23:09:00.867219+00:00",
        "actor": {"account": {"name": "learner-1", "homePage": "https://learn.example.org"}},
        "verb": {"id": f"https://w3id.org/xapi/video/verbs/{verb}"},
        "object": {"id": "uuid://video-1"},
        "context": {
            "contextActivities": {"parent": [{"id": "course-v1:one"}]},
            "extensions": {f"{VIDEO}session-id": "session-1", f"{VIDEO}length": 263.24},
        },
        "result": {"extensions": {f"{VIDEO}time": 12.5, f"{VIDEO}progress": 0.25}},
    }
    return {**statement, **changes}


def _result(**extensions: Any) -> dict[str, Any]:
    return {"extensions": {f"{VIDEO}{name.replace('_', '-')}": value for name, value in extensions.items()}}


def _translated(statement: Any) -> dict[str, Any]:
    return translate(json.dumps(statement).encode())


def test_a_statement_becomes_exactly_these_fields() -> None:
    assert _translated(_statement()) == {
        "event_id": "9dc99b37-e920-4a68-a066-917faca28949",
        "event_type": "view",
        "occurred_at": "2021-11-29T23:09:00.867219+00:00",
        "user_id": str(foreign_object_id("learner-1")),
        "course_id": str(foreign_object_id("course-v1:one")),
        "lesson_id": str(foreign_object_id("uuid://video-1")),
        "producer": "xapi",
        "session_id": "session-1",
        "value": 12.5,
        "details": {
            "progress": 0.25,
            "length": 263.24,
            "source": {
                "format": "xapi",
                "verb": "played",
                "user": "learner-1",
                "course": "course-v1:one",
                "lesson": "uuid://video-1",
            },
        },
    }


@pytest.mark.parametrize(
    ("verb", "event_type"),
    [
        ("played", "view"),
        ("paused", "pause"),
        ("completed", "complete"),
        ("initialized", "lesson_started"),
        ("interacted", "lesson_view"),
        ("terminated", "lesson_view"),
        ("never-heard-of", "lesson_view"),
    ],
)
def test_verbs_become_event_types_and_any_other_verb_is_a_lesson_view(verb: str, event_type: str) -> None:
    assert _translated(_statement(verb))["event_type"] == event_type


def test_a_seek_leads_to_its_target() -> None:
    fields = _translated(_statement("seeked", result=_result(time=1, time_from=124.5, time_to=176.4)))
    assert (fields["event_type"], fields["value"], fields["details"]["time_from"]) == ("seek", 176.4, 124.5)


@pytest.mark.parametrize(
    ("verb", "result"),
    [
        ("played", _result(progress=1)),
        ("paused", {}),
        ("seeked", _result(time=3)),
        ("played", _result(time=None)),
    ],
)
def test_a_player_that_does_not_say_where_it_stands_is_refused(verb: str, result: dict[str, Any]) -> None:
    with pytest.raises(TranslationError, match="position"):
        _translated(_statement(verb, result=result))


def test_a_completion_needs_no_position() -> None:
    assert "value" not in _translated(_statement("completed", result={}))


@pytest.mark.parametrize(
    ("actor", "name"),
    [
        ({"account": {"name": "a"}, "mbox": "mailto:b"}, "a"),
        ({"mbox": "mailto:b"}, "mailto:b"),
        ({"account": {}, "mbox_sha1sum": "c0"}, "c0"),
        ({"openid": "https://id.example.org"}, "https://id.example.org"),
    ],
)
def test_the_learner_is_named_by_account_mail_box_or_openid(actor: dict[str, Any], name: str) -> None:
    fields = _translated(_statement(actor=actor))
    assert fields["details"]["source"]["user"] == name
    assert fields["user_id"] == str(foreign_object_id(name))


def test_an_id_that_is_an_object_id_stays() -> None:
    assert _translated(_statement(object={"id": "65A4F0C2E13B7A0001BBBBBB"}))["lesson_id"] == (
        "65a4f0c2e13b7a0001bbbbbb"
    )


def test_a_parent_may_be_one_activity_instead_of_a_list() -> None:
    context = {"contextActivities": {"parent": {"id": "course-v1:two"}}}
    assert _translated(_statement(context=context))["details"]["source"]["course"] == "course-v1:two"


def test_extensions_of_other_vocabularies_are_left_out() -> None:
    result = {"extensions": {f"{VIDEO}time": 1, "https://example.org/a.b": 2, f"{VIDEO}volume": None}}
    assert set(_translated(_statement(result=result))["details"]) == {"length", "source"}


def test_an_extension_that_is_no_scalar_is_left_out_however_deep_it_nests() -> None:
    line = json.dumps(_statement()).replace("0.25", "[" * 900 + "]" * 900).encode()
    assert "progress" not in json.loads(encode(translate(line)))["details"]


@pytest.mark.parametrize("part", ["id", "timestamp", "actor", "verb", "object", "context"])
@pytest.mark.parametrize("wrong", [None, 7, [], {}])
def test_a_statement_without_a_needed_part_is_refused(part: str, wrong: Any) -> None:
    with pytest.raises(TranslationError, match=part):
        _translated(_statement(**{part: wrong}))


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_a_line_that_is_no_json_object_is_refused(line: bytes) -> None:
    with pytest.raises(TranslationError, match="JSON"):
        translate(line)


@pytest.mark.skipif(not STATEMENTS.exists(), reason="the file of real statements is not on this machine")
def test_every_real_statement_becomes_an_event_of_the_expected_type() -> None:
    with gzip.open(STATEMENTS) as lines:
        events = [accepted(encode(translate(line))) for line in lines]
    assert Counter(event.event_type for event in events) == {
        "view": 6603,
        "pause": 6480,
        "seek": 2995,
        "complete": 636,
        "lesson_started": 1348,
        "lesson_view": 3938,
    }
    assert len({event.event_id for event in events}) == 22_000
    assert len({event.user_id for event in events}) == 1452
    assert (
        len({(event.user_id, event.lesson_id) for event in events if event.event_type == "complete"}) == 568
    )
