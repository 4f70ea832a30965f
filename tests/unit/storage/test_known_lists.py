"""Lists that were read are bounded in bytes, and those in use stay."""

from worker.storage.known_lists import KnownLists


def test_lists_that_nobody_used_of_late_go_first() -> None:
    known = KnownLists(max_bytes=10)
    known.put({b"a": b"1234", b"b": b"1234"})
    assert known.look([b"a", b"x"]) == ({b"a": b"1234"}, [b"x"])
    known.put({b"c": b"1234"})
    assert known.look([b"a", b"b", b"c"]) == ({b"a": b"1234", b"c": b"1234"}, [b"b"])
    assert known.size_bytes == 8


def test_a_list_is_kept_once_and_one_that_does_not_fit_is_not_kept() -> None:
    known = KnownLists(max_bytes=10)
    known.put({b"a": b"1234"})
    known.put({b"a": b"1234"})
    assert known.size_bytes == 4
    known.put({b"large": bytes(11)})
    assert (known.look([b"a", b"large"]), known.size_bytes) == (({}, [b"a", b"large"]), 0)
