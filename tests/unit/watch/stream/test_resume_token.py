"""What the worker reads off a resume token."""

import pytest

from worker.storage.resume_tokens import token_time_s
from worker.watch.stream.resume_token import ahead, smallest

EARLY = {"_data": "826B03A34F000000032B0229296E04"}
LATE = {"_data": "826B03A351000000012B0229296E04"}


def test_a_token_tells_its_cluster_time() -> None:
    assert token_time_s(EARLY) == 0x6B03A34F


@pytest.mark.parametrize(
    "not_a_token",
    [
        None,
        {},
        "826B03A34F",
        {"_data": 5},
        {"_data": ""},
        {"_data": "82"},
        {"_data": "garbage" * 5},
        {"_data": "83" * 9},
    ],
)
def test_what_cannot_be_a_token_has_no_time(not_a_token: object) -> None:
    assert token_time_s(not_a_token) is None


def test_the_smallest_token_is_the_earliest_whatever_its_case() -> None:
    lower = {"_data": EARLY["_data"].lower()}

    assert smallest([LATE, EARLY]) == EARLY
    assert smallest([LATE, lower]) == lower
    assert smallest([]) is None


def test_a_token_well_beyond_the_cluster_time_is_of_another_history() -> None:
    now_s = 0x6B03A34F

    assert not ahead(EARLY, now_s)
    assert not ahead(EARLY, now_s - 5)
    assert ahead(EARLY, now_s - 60)
