"""Long rows in pieces: nothing is lost, nothing comes twice."""

from hypothesis import given
from hypothesis import strategies as st

from worker.chunks import chunks


@given(st.lists(st.integers()), st.integers(1, 7))
def test_the_pieces_are_the_row_and_all_but_the_last_are_full(items: list[int], size: int) -> None:
    pieces = list(chunks(iter(items), size))
    assert [item for piece in pieces for item in piece] == items
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(0 < len(piece) <= size for piece in pieces)
