"""xAPI video statements become events of the contract; real ones from a file where it is present."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.contract.records import accepted
from worker.contract.codec import encode
from worker.contract.formats.xapi import LeftOut, TranslationError, translate
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


def _translated(statement: Any, own_home_page: str | None = None) -> dict[str, Any]:
    fields = translate(json.dumps(statement).encode(), own_home_page)
    assert isinstance(fields, dict), fields
    return fields


def _left_out(statement: Any) -> str:
    """The verb of a statement that has no event."""
    found = translate(json.dumps(statement).encode())
    assert isinstance(found, LeftOut), found
    return found.verb


def _with_each_part_replaced(whole: Any, other: Any) -> Iterator[Any]:
    """The value with one part at a time, at any depth, being something else."""
    yield other
    items = whole.items() if isinstance(whole, dict) else enumerate(whole) if isinstance(whole, list) else ()
    for place, part in items:
        for replaced in _with_each_part_replaced(part, other):
            changed = whole.copy()
            changed[place] = replaced
            yield changed


@pytest.mark.parametrize(
    "other", [None, True, 7, 1e300, "", "x y", [], ["x"], [[]], {}, {"id": {}}], ids=repr
)
def test_a_part_of_another_kind_costs_its_line_only(other: Any) -> None:
    about = {"id": "uuid://video-1", "objectType": "Activity", "definition": {"type": f"{VIDEO}x"}}
    for statement in _with_each_part_replaced(_statement(object=about), other):
        try:
            found = translate(json.dumps(statement).encode(), "https://learn.example.org")
        except TranslationError:
            continue
        assert isinstance(found, LeftOut) or encode(found)


def test_a_statement_becomes_exactly_these_fields() -> None:
    assert _translated(_statement()) == {
        "event_id": "9dc99b37-e920-4a68-a066-917faca28949",
        "event_type": "view",
        "occurred_at": "2021-11-29T23:09:00.867219+00:00",
        "user_id": str(foreign_object_id("https://learn.example.org learner-1")),
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
                "home_page": "https://learn.example.org",
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


# ---- who learns ----

HERE, ELSEWHERE = "https://learn.example.org", "https://other.example.org"


def _account(name: Any, home_page: Any = HERE) -> dict[str, Any]:
    return {"objectType": "Agent", "account": {"name": name, "homePage": home_page}}


@pytest.mark.parametrize(
    ("actor", "name"),
    [
        ({"mbox": "mailto:b"}, "mailto:b"),
        ({"account": {"name": "a"}, "mbox": "mailto:b"}, "mailto:b"),
        ({"account": {}, "mbox_sha1sum": "c0"}, "c0"),
        ({"openid": "https://id.example.org"}, "https://id.example.org"),
    ],
)
def test_the_learner_is_named_by_mail_box_hash_or_openid_where_there_is_no_account(
    actor: dict[str, Any], name: str
) -> None:
    fields = _translated(_statement(actor=actor))
    source = fields["details"]["source"]
    assert (source["user"], "home_page" in source) == (name, False)
    assert fields["user_id"] == str(foreign_object_id(name))


def test_an_account_of_the_same_name_on_another_home_page_is_another_learner() -> None:
    first, second = (_translated(_statement(actor=_account("17", page))) for page in (HERE, ELSEWHERE))
    assert first["user_id"] != second["user_id"]
    assert [each["details"]["source"]["home_page"] for each in (first, second)] == [HERE, ELSEWHERE]


def test_home_page_and_name_cannot_be_taken_for_each_other() -> None:
    parts = _translated(_statement(actor=_account("b c", "https://a")))
    assert parts["user_id"] != _translated(_statement(actor=_account("c", "https://a/b")))["user_id"]
    with pytest.raises(TranslationError, match="homePage"):
        _translated(_statement(actor=_account("c", "https://a b")))


@pytest.mark.parametrize(
    "account", [{"name": "a"}, {"name": "a", "homePage": ""}, {"homePage": HERE}, "a", 7]
)
def test_an_account_without_name_and_home_page_is_nobody(account: Any) -> None:
    with pytest.raises(TranslationError, match="homePage"):
        _translated(_statement(actor={"account": account}))


OBJECT_ID = "65A4F0C2E13B7A0001BBBBBB"


@pytest.mark.parametrize("own", [HERE, HERE + "/"])
def test_a_name_that_is_an_object_id_stays_the_id_of_the_platform_s_own_learner(own: str) -> None:
    assert _translated(_statement(actor=_account(OBJECT_ID)), own)["user_id"] == OBJECT_ID.lower()


@pytest.mark.parametrize("own", [None, "", ELSEWHERE])
def test_a_name_that_is_an_object_id_is_derived_as_any_other_elsewhere(own: str | None) -> None:
    """Whoever names accounts of another platform so would otherwise write into a learner's record."""
    user_id = _translated(_statement(actor=_account(OBJECT_ID)), own)["user_id"]
    assert user_id == str(foreign_object_id(f"{HERE} {OBJECT_ID}"))


def test_a_name_of_the_platform_s_own_that_is_no_object_id_is_derived() -> None:
    user_id = _translated(_statement(), HERE)["user_id"]
    assert user_id == str(foreign_object_id(f"{HERE} learner-1"))


@pytest.mark.parametrize("naming", [_account("class 7b"), {"mbox": "mailto:b"}, {"member": [_account("a")]}])
def test_a_group_is_no_learner_even_one_with_a_name(naming: dict[str, Any]) -> None:
    assert _left_out(_statement(actor={**naming, "objectType": "Group"})) == "played"


# ---- what is about a video ----

ADL = "http://adlnet.gov/expapi/verbs"
VIDEO_TYPE = "https://w3id.org/xapi/video/activity-type/video"


def _about(kind: str | None, verb: str, **changes: Any) -> dict[str, Any]:
    """A statement with any verb about an object of this type."""
    about = {"id": "https://learn.example.org/x/1"} | ({"definition": {"type": kind}} if kind else {})
    return _statement(verb={"id": f"{ADL}/{verb}"}, object=about, **changes)


@pytest.mark.parametrize(
    ("kind", "verb"),
    [
        ("http://id.tincanapi.com/activitytype/forum-reply", "interacted"),
        ("http://id.tincanapi.com/activitytype/discussion", "commented"),
        ("http://adlnet.gov/expapi/activities/assessment", "scored"),
        ("http://adlnet.gov/expapi/activities/course", "completed"),
        ("http://adlnet.gov/expapi/activities/module", "initialized"),
        (None, "passed"),
    ],
)
def test_what_is_not_about_a_video_is_left_out_whatever_its_verb(kind: str | None, verb: str) -> None:
    assert _left_out(_about(kind, verb)) == verb


@pytest.mark.parametrize("verb", ["interacted", "terminated", "downloaded", "scored"])
def test_any_other_verb_about_a_video_is_a_lesson_view(verb: str) -> None:
    assert _translated(_about(VIDEO_TYPE, verb))["event_type"] == "lesson_view"


def test_where_no_type_is_said_the_profile_tells_a_video() -> None:
    category = {"category": [{"id": "https://w3id.org/xapi/video"}], "parent": [{"id": "course-v1:one"}]}
    statement = _about(None, "interacted", context={"contextActivities": category})
    assert _translated(statement)["event_type"] == "lesson_view"


def test_a_type_that_is_said_counts_more_than_profile_and_verb() -> None:
    about = {"id": "x:1", "definition": {"type": "http://adlnet.gov/expapi/activities/course"}}
    assert _left_out(_statement("completed", object=about)) == "completed"


@pytest.mark.parametrize("kind", ["StatementRef", "SubStatement", "Agent"])
def test_what_is_no_activity_is_left_out(kind: str) -> None:
    assert _left_out(_statement(object={"objectType": kind, "id": "x:1"})) == "played"


@pytest.mark.parametrize("about", [{"objectType": "StatementRef", "id": "9dc9"}, {"id": "uuid://video-1"}])
def test_a_voided_statement_is_no_lesson(about: dict[str, Any]) -> None:
    assert _left_out(_statement(verb={"id": f"{ADL}/voided"}, object=about)) == "voided"


# ---- when ----


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2021-11-29T23:09:00.867219+00:00", "2021-11-29T23:09:00.867219+00:00"),
        ("2021-11-29T23:09:00Z", "2021-11-29T23:09:00Z"),
        ("2021-11-29T23:09:00+0000", "2021-11-29T23:09:00+00:00"),
        ("2021-11-29T23:09:00.5+0130", "2021-11-29T23:09:00.5+01:30"),
        ("2021-11-29T23:09:00+00", "2021-11-29T23:09:00+00:00"),
        ("2021-11-29T23:09:00-05", "2021-11-29T23:09:00-05:00"),
        ("2021-11-29T23:09:00", "2021-11-29T23:09:00Z"),
        ("2021-11-29T23:09:00,25", "2021-11-29T23:09:00.25Z"),
        ("2021-11-29T23:09", "2021-11-29T23:09:00Z"),
        ("2016-12-31T23:59:60", "2016-12-31T23:59:60Z"),
    ],
)
def test_a_timestamp_is_read_as_iso_8601_without_an_offset_it_is_utc(written: str, read: str) -> None:
    fields = _translated(_statement(timestamp=written))
    assert fields["occurred_at"] == read
    assert accepted(encode(fields))


@pytest.mark.parametrize(
    "written",
    [
        "",
        "2021-11-29",
        "yesterday",
        "2021-02-30T00:00:00Z",
        "2021-11-29T24:00:00Z",
        "1638227340",
        "1899-01-01T00:00:00Z",
        "2021-11-29T23:09:00+",
        "2021-11-29T23:09:00+01:",
        "2021-11-29T23:09:00 +01:00",
    ],
)
def test_a_timestamp_that_is_no_time_of_the_contract_is_refused(written: str) -> None:
    with pytest.raises(TranslationError, match="timestamp"):
        _translated(_statement(timestamp=written))


# ---- the rest ----


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
    fields = translate(line)
    assert isinstance(fields, dict)
    assert "progress" not in json.loads(encode(fields))["details"]


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
        translated = [translate(line) for line in lines]
    assert not any(isinstance(each, LeftOut) for each in translated)
    events = [accepted(encode(each)) for each in translated if isinstance(each, dict)]
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
