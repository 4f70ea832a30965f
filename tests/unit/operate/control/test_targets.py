"""What can be paused has one name in the database, and one on the command line."""

import re

import pytest

from projections.catalogue import CATALOGUE
from worker.operate.control.targets import Known, Target, target_from, target_of
from worker.settings import NotificationKind, RoleName
from worker.telemetry.labels import PAUSABLE

STREAM = "course_5f1d7f3e9d1c4b0001a0c001_user_5f1d7f3e9d1c4b00010000aa"
KNOWN = Known(frozenset({"interaction.events"}), frozenset(CATALOGUE.names))

ALL: list[tuple[list[str], Target, str]] = [
    *[([str(role)], Target("role", role), f"pause.role.{role}") for role in RoleName],
    (
        ["partition", "interaction.events", "12"],
        Target("partition", "interaction.events", 12),
        "pause.partition.interaction.events.12",
    ),
    *[
        (["projection", name], Target("projection", name), f"pause.projection.{name}")
        for name in CATALOGUE.names
    ],
    *[(["kind", str(kind)], Target("kind", kind), f"pause.kind.{kind}") for kind in NotificationKind],
    (["stream", STREAM], Target("stream", STREAM), f"pause.stream.{STREAM}"),
]


@pytest.mark.parametrize(("words", "target", "key"), ALL, ids=[" ".join(words) for words, *_ in ALL])
def test_words_and_keys_name_the_same_thing(words: list[str], target: Target, key: str) -> None:
    assert target_from(words, KNOWN) == target
    assert target.key == key
    assert target_of(key, KNOWN) == target
    assert target.label in PAUSABLE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["everything"], "'everything' is nothing that can be paused"),
        (["ingest", "now"], "'ingest now' is nothing that can be paused"),
        (["partition", "interaction.events"], "is nothing that can be paused"),
        (["partition", "others", "0"], "there is no topic 'others': there is interaction.events"),
        (["partition", "interaction.events", "-1"], "'-1' is no number of a partition"),
        (["partition", "interaction.events", "9999999999"], "is no number of a partition"),
        (["projection", "progres"], "there is no projection 'progres'"),
        (["kind", "farewell"], "there is no kind of notifications 'farewell': there is completion, welcome"),
        (["stream", "course_1"], "no stream has the name 'course_1'"),
        (["role", "cook"], "there is no role 'cook'"),
    ],
)
def test_what_names_nothing_is_told_in_words(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        target_from(words, KNOWN)


@pytest.mark.parametrize(
    "key",
    ["pause.", "pause.role", "pause.role.", "pause.partition.3", "pause.partition.x.y", "pause.kind.WELCOME"],
)
def test_keys_that_name_nothing_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"nothing that can be paused|there is no|is no number"):
        target_of(key, KNOWN)
