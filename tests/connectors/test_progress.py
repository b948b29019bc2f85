"""How far a group's offset may go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.progress import Progress


def test_nothing_is_committed_before_anything_was_taken() -> None:
    assert Progress().next_offset is None


def test_the_offset_waits_for_the_first_record_not_done() -> None:
    progress = Progress()
    for offset in (5, 6, 9):
        progress.take(offset)
    progress.done(9)
    progress.done(6)
    assert (progress.next_offset, progress.waiting) == (5, 3)
    progress.done(5)
    assert (progress.next_offset, progress.waiting) == (10, 0)


@given(
    offsets=st.sets(st.integers(0, 200), min_size=1).map(sorted),
    data=st.data(),
)
def test_the_offset_is_the_first_record_not_done_whatever_the_order(
    offsets: list[int], data: st.DataObject
) -> None:
    progress = Progress()
    taken: list[int] = []
    done: set[int] = set()
    seen = 0
    todo = list(offsets)
    while todo or len(done) < len(taken):
        if todo and (len(done) == len(taken) or data.draw(st.booleans())):
            taken.append(todo.pop(0))
            progress.take(taken[-1])
        else:
            finished = data.draw(st.sampled_from([o for o in taken if o not in done]))
            done.add(finished)
            progress.done(finished)
            if data.draw(st.booleans()):
                progress.done(finished)
        open_ones = [o for o in taken if o not in done]
        assert progress.next_offset is not None
        if open_ones:
            # Markers between records may be passed or not: what counts is that no record is.
            passed = [o for o in taken if o < progress.next_offset]
            assert all(o in done for o in passed)
            assert not [o for o in taken if progress.next_offset <= o < open_ones[0]]
        else:
            assert progress.next_offset == taken[-1] + 1
        assert progress.next_offset >= seen
        seen = progress.next_offset


@given(
    offsets=st.lists(st.integers(0, 300), min_size=1, unique=True).map(sorted),
    data=st.data(),
)
def test_a_successor_does_again_what_was_not_done_and_nothing_else(
    offsets: list[int], data: st.DataObject
) -> None:
    done: set[int] = set()
    progress = Progress()
    for _ in range(3):
        # Each process gets some way only, and is followed by another.
        begin = progress.next_offset or 0
        ahead = [offset for offset in offsets if offset >= begin]
        progress = Progress(begin, progress.note)
        for offset in ahead[: data.draw(st.integers(0, len(ahead)))]:
            assert progress.was_done(offset) is (offset in done)
            progress.take(offset)
            if offset in done or data.draw(st.booleans()):
                done.add(offset)
                progress.done(offset)
        if progress.next_offset is None:
            return
        assert all(offset in done for offset in offsets if offset < progress.next_offset)


def test_the_note_fits_where_it_is_kept() -> None:
    progress = Progress()
    for offset in range(20_000):
        progress.take(offset)
    for offset in range(1, 20_000, 2):
        progress.done(offset)
    assert len(progress.note) <= 4096
    successor = Progress(0, progress.note)
    known = [offset for offset in range(20_000) if successor.was_done(offset)]
    assert len(known) > 300
    assert all(offset % 2 for offset in known)


@pytest.mark.parametrize("note", ["", "done:", "done:1", "done:2-x", "somebody else's", "1-2"])
def test_a_note_of_somebody_else_says_nothing(note: str) -> None:
    assert not any(Progress(0, note).was_done(offset) for offset in range(10))
