"""Long rows in pieces: nothing is lost, nothing comes twice."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from worker.chunks import chunks, chunks_within


@given(st.lists(st.integers()), st.integers(1, 7))
def test_the_pieces_are_the_row_and_all_but_the_last_are_full(items: list[int], size: int) -> None:
    pieces = list(chunks(iter(items), size))
    assert [item for piece in pieces for item in piece] == items
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(0 < len(piece) <= size for piece in pieces)


@given(st.lists(st.integers(0, 9)), st.integers(1, 20), st.integers(1, 5))
def test_pieces_within_bytes_are_the_row_and_only_one_item_alone_is_larger(
    items: list[int], max_bytes: int, max_items: int
) -> None:
    pieces = list(chunks_within(iter(items), max_bytes, lambda item: item, max_items))
    assert [item for piece in pieces for item in piece] == items
    assert all(len(piece) <= max_items and (sum(piece) <= max_bytes or len(piece) == 1) for piece in pieces)
    for piece, following in pairwise(pieces):
        assert len(piece) == max_items or sum(piece) + following[0] > max_bytes
