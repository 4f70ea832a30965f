"""The table of MongoDB's codes: whole, each once, and told apart by what the server speaks of."""

import pytest

from worker.storage.server_codes import SERVER_CODES, CodeClass, code_class, told_by_the_server

# Numbers MongoDB 6.0 gives a name to, without those it never gave out (44, 99, 131 …).
_NEVER = {44, 99, 131, 196, 305, 368}
_IN_A_ROW = set(range(1, 378)) - _NEVER
_OLDER = {
    9001,
    9996,
    10003,
    10058,
    10107,
    10334,
    11000,
    11600,
    11601,
    11602,
    12586,
    12587,
    13104,
    13113,
    13297,
}
_OLDER |= {13388, 13435, 13436, 14031, 17280, 46841, 50768, 50915, 56846}


def test_every_code_of_the_servers_list_has_a_class() -> None:
    assert {code for code in _IN_A_ROW | _OLDER if code_class(code) is None} == set()


def test_no_code_stands_there_twice() -> None:
    assert len({row.code for row in SERVER_CODES}) == len(SERVER_CODES)
    assert len({row.name for row in SERVER_CODES}) == len(SERVER_CODES)


@pytest.mark.parametrize(
    ("code", "about_itself"),
    [(371, True), (14031, True), (999_999, True), (112, False), (189, False), (121, False), (13, False)],
)
def test_readiness_hears_of_the_servers_own_state_and_of_what_nobody_knows(
    code: int, about_itself: bool
) -> None:
    assert told_by_the_server(code) is about_itself


def test_writes_blocked_by_an_operator_are_the_servers_own_state() -> None:
    assert code_class(371) is CodeClass.SERVER
