"""A contestant with the code of an earlier commit: where it comes from, and that nothing of it stays."""

import shutil

import pytest

from bench.contestants.at_commit import at_commit, checkout
from bench.contestants.field import EVERYTHING, ROOT

_HAS_HISTORY = shutil.which("git") is not None and (ROOT / ".git").exists()


@pytest.mark.skipif(not _HAS_HISTORY, reason="needs git and a clone with history")
def test_the_files_of_a_commit_are_there_for_as_long_as_they_are_used() -> None:
    with checkout("HEAD") as tree:
        assert tree is not None
        assert (tree / "worker" / "__main__.py").is_file()
        contestant = at_commit(EVERYTHING, tree)
        assert contestant.name == f"{EVERYTHING.name}, HEAD"
        assert not contestant.stamps
    assert not tree.exists()


def test_a_commit_that_is_not_there_gives_nothing() -> None:
    with checkout("0" * 40) as tree:
        assert tree is None
