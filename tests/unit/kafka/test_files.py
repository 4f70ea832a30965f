"""Every line of a file is published as it stands, or reported by its number."""

import gzip
import json
from pathlib import Path

import pytest

from worker.kafka.files import (
    CannotTranslate,
    OutgoingRecord,
    Statements,
    UnreadableLine,
    read_records,
)
from worker.kafka.lines import Damaged

USER, COURSE = "a" * 24, "B" * 24
GOOD = f'{{"user_id": "{USER}", "course_id": "{COURSE}"}}'.encode()
BAD_LINES = [b"", b"{", b"\xff\xfe", b'{"a": NaN}', b" \r", b"[]", b'"text"', b"x" * 300 * 1024]
STATEMENT = (
    b'{"id": "9dc99b37-e920-4a68-a066-917faca28949", "timestamp": "2021-11-29T23:09:00.867219+00:00",'
    b' "actor": {"account": {"name": "learner", "homePage": "https://example.org"}},'
    b' "verb": {"id": "http://adlnet.gov/expapi/verbs/completed"},'
    b' "object": {"id": "uuid://video", "definition": {"type": "https://w3id.org/xapi/video/activity-type/video"}},'
    b' "context": {"contextActivities": {"parent": [{"id": "course"}]}}}'
)


@pytest.mark.parametrize("compressed", [False, True])
def test_native_lines_are_published_byte_for_byte_valid_or_not(tmp_path: Path, compressed: bool) -> None:
    lines = [GOOD, *BAD_LINES, GOOD]
    content = b"\n".join(lines) + b"\n"
    path = tmp_path / "events"
    path.write_bytes(gzip.compress(content) if compressed else content)
    records = list(read_records(path, "native"))
    assert [record.value for record in records] == lines
    assert [record.line for record in records] == list(range(1, len(lines) + 1))


def test_a_last_line_without_line_feed_is_a_record_too(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"one\ntwo")
    assert [record.value for record in read_records(path, "native")] == [b"one", b"two"]


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.touch()
    assert list(read_records(path, "native")) == []


def test_readable_lines_are_keyed_by_course_and_learner_and_others_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes(GOOD + b"\n{\n")
    good, bad = read_records(path, "native")
    assert good.key == f"{COURSE}:{USER}".lower().encode()
    assert bad.key is None


def test_statements_are_translated_and_keyed(tmp_path: Path) -> None:
    path = tmp_path / "statements"
    path.write_bytes(STATEMENT + b"\n\n")
    (record,) = read_records(path, "xapi")
    assert record.value is not None
    assert b'"event_type":"complete"' in record.value
    assert record.key is not None


def test_a_statement_that_cannot_be_translated_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "statements"
    path.write_bytes(STATEMENT + b"\n{}\nnot json\n" + STATEMENT)
    reported: list[UnreadableLine] = []
    records = list(read_records(path, "xapi", on_unreadable=reported.append))
    assert [record.line for record in records] == [1, 4]
    assert [line.line for line in reported] == [2, 3]
    with pytest.raises(CannotTranslate, match="line 2: "):
        list(read_records(path, "xapi"))


def _statement(**changes: object) -> bytes:
    return json.dumps({**json.loads(STATEMENT), **changes}).encode()


def test_statements_without_an_event_are_left_out_and_counted_by_verb(tmp_path: Path) -> None:
    path = tmp_path / "statements"
    voided = _statement(verb={"id": "http://adlnet.gov/expapi/verbs/voided"})
    forum = _statement(
        object={"id": "x:1", "definition": {"type": "http://id.tincanapi.com/activitytype/forum"}}
    )
    group = _statement(actor={"objectType": "Group", "mbox": "mailto:class@example.org"})
    path.write_bytes(b"\n".join([voided, STATEMENT, forum, voided, group]))
    statements = Statements()
    assert len(list(read_records(path, "xapi", statements=statements))) == 1
    verb = json.loads(STATEMENT)["verb"]["id"].rpartition("/")[2]
    assert statements.left_out == {"voided": 2, verb: 2}
    assert str(statements) == f"4 statements left out, not of a learner about a video: voided 2, {verb} 2"


def test_verbs_of_a_file_neither_flood_nor_command_the_terminal() -> None:
    statements = Statements()
    for number in range(1_000):
        statements.leave_out(f"\x1b[31m{number}" + "x" * 1_000)
    assert statements.left_out.total() == 1_000
    assert len(str(statements)) < 5_000
    assert str(statements).isprintable()


def test_names_of_the_platform_s_own_home_page_stay(tmp_path: Path) -> None:
    path = tmp_path / "statements"
    own = {"account": {"homePage": "https://learn.example.org", "name": USER}}
    path.write_bytes(_statement(actor=own))
    (ours,) = read_records(path, "xapi", statements=Statements("https://learn.example.org"))
    (anybodys,) = read_records(path, "xapi")
    assert USER.lower().encode() in (ours.key or b"")
    assert USER.lower().encode() not in (anybodys.key or b"")


@pytest.mark.parametrize("breakage", ["cut short", "wrong bytes"])
def test_a_compressed_file_that_breaks_off_says_so(tmp_path: Path, breakage: str) -> None:
    whole = gzip.compress(b"\n".join([GOOD] * 1000))
    half = len(whole) // 2
    path = tmp_path / "events.gz"
    path.write_bytes(whole[:half] if breakage == "cut short" else whole[:half] + b"\xff" * half)
    with pytest.raises(Damaged, match=r"cut short or broken: [0-9,]+ whole lines could be read"):
        list(read_records(path, "native"))


def test_a_records_size_is_that_of_key_and_value() -> None:
    assert OutgoingRecord(b"12345", b"key").size_bytes == 8
    assert OutgoingRecord(None).size_bytes == 0
