"""The shelf: what tasks need is read once, shared, let go when others need room, and never more of it than stated."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Barrier, Lock, Thread
from typing import Any

import pytest

from semconv.runs.shelf import Shelf


@dataclass(eq=False)
class Thing:
    """Something that says how often it was read; fails as often as asked."""

    key: str
    n_bytes: int
    fails: int = 0
    working: int = 0
    reads: int = field(default=0)
    lock: Lock = field(default_factory=Lock)

    def read(self) -> str:
        with self.lock:
            self.reads += 1
            if self.fails:
                self.fails -= 1
                raise OSError(f"{self.key} cannot be read")
        return self.key.upper()


def test_what_is_held_is_read_once_and_the_longest_unused_goes_first():
    a, b, c, d = (Thing(name, 10) for name in "abcd")
    shelf = Shelf(30)
    for needs in ([a, b], [a, c], [b], [a, d], [b], [c]):
        with shelf.holding(needs) as values:
            assert values == [need.key.upper() for need in needs]
    # d came when a, b and c were held: c had been unused the longest of those not needed with it.
    assert [thing.reads for thing in (a, b, c, d)] == [1, 1, 2, 1]
    assert (shelf.n_read, shelf.peak) == (5, 30)


def test_one_thing_needed_twice_is_one():
    a, shelf = Thing("a", 10), Shelf(10)
    with shelf.holding([a, a]) as values:
        assert values == ["A", "A"]
    assert (a.reads, shelf.peak) == (1, 10)


def test_a_task_that_needs_more_than_there_is_has_the_shelf_to_itself():
    a, b, shelf = Thing("a", 10), Thing("b", 40), Shelf(20)
    with shelf.holding([a]):
        pass
    with shelf.holding([b]) as values:
        assert values == ["B"]
        assert shelf.peak == 40  # a was let go before
    with shelf.holding([]) as values:
        assert values == []


def test_without_a_limit_nothing_is_let_go():
    things, shelf = [Thing(str(i), 10**12) for i in range(9)], Shelf()
    for _ in range(2):
        for thing in things:
            with shelf.holding([thing]):
                pass
    assert {thing.reads for thing in things} == {1}


def run(shelf: Shelf, lists: list[list[Thing]], n_threads: int) -> list[Any]:
    """Holds each list of needs on one of some threads; returns what came of each."""
    found: list[Any] = [None] * len(lists)
    waiting, lock = iter(range(len(lists))), Lock()

    def work() -> None:
        while True:
            with lock:
                i = next(waiting, None)
            if i is None:
                return
            try:
                with shelf.holding(lists[i]) as values:
                    found[i] = values
            except OSError as error:
                found[i] = error

    threads = [Thread(target=work) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread waits for ever"
    return found


@pytest.mark.parametrize("most", [20, 30, 40, 90])
def test_no_more_is_held_than_stated_however_many_threads_there_are(most: int):
    things, shelf = [Thing(str(i), 10) for i in range(9)], Shelf(most)
    lists = [[x, y] for x in things for y in things]
    found = run(shelf, lists, 8)
    assert found == [[need.key for need in needs] for needs in lists]
    assert 20 <= shelf.peak <= most
    assert shelf.n_read == sum(thing.reads for thing in things) >= 9


def test_two_threads_share_what_one_reads():
    a, shelf, together = Thing("a", 10), Shelf(10), Barrier(2)

    def work() -> None:
        with shelf.holding([a]):
            together.wait(30)

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not together.broken
    assert a.reads == 1


def test_what_cannot_be_read_stops_its_users_and_is_read_again_by_the_next():
    a, b, bad, shelf = Thing("a", 10), Thing("b", 10), Thing("bad", 10, fails=1), Shelf(30)
    with pytest.raises(OSError, match="bad cannot be read"), shelf.holding([a, bad, b]):
        raise AssertionError
    with shelf.holding([bad, b]) as values:  # neither hangs on what was never read
        assert values == ["BAD", "B"]
    assert (a.reads, b.reads, bad.reads) == (1, 1, 2)


def test_errors_of_several_threads_leave_nobody_waiting():
    good, bad = [Thing(str(i), 10) for i in range(4)], Thing("bad", 10, fails=20)
    shelf = Shelf(30)
    found = run(shelf, [[one, bad] for one in good for _ in range(10)], 6)
    errors = [one for one in found if isinstance(one, OSError)]
    assert 20 <= len(errors) < 40
    assert all(one == ["0", "BAD"] for one in found[:10] if not isinstance(one, OSError))
    assert bad.fails == 0


def test_tasks_run_at_once_only_as_far_as_there_is_room_beside_what_they_need():
    """Three at once of those that take 10 beside 1, one of those that take more than there is; all come to run."""
    small, large = ([Thing(f"{name}{i}", 1, working=size) for i in range(6)] for name, size in (("s", 10), ("l", 50)))
    shelf = Shelf(None, room=35)
    assert run(shelf, [[one] for one in small], 6) == [[one.key.upper()] for one in small]
    assert shelf.peak_beside <= 30
    alone = Shelf(None, room=35)
    assert run(alone, [[one] for one in (*small, *large)], 6) == [[one.key.upper()] for one in (*small, *large)]
    assert alone.peak_beside == 50
    assert run(Shelf(None), [[one] for one in large], 3) == [[one.key.upper()] for one in large]


def test_what_no_task_uses_is_let_go_for_what_running_tasks_hold_beside_it():
    a, b, busy, shelf = Thing("a", 10), Thing("b", 10), Thing("busy", 5, working=20), Shelf(30, room=40)
    for needs in ([a], [b], [busy]):
        with shelf.holding(needs):
            pass
    assert shelf.peak == 20  # a was let go: b, what is needed and what is worked with take 35 of 40
    with shelf.holding([b]), shelf.holding([a]):
        assert (a.reads, b.reads, busy.reads) == (2, 1, 1)


def test_what_two_tasks_share_is_counted_once_and_what_each_works_with_for_itself():
    a, shelf, together = Thing("a", 10, working=7), Shelf(10, room=24), Barrier(2)

    def work() -> None:
        with shelf.holding([a, a]):
            together.wait(10)

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (shelf.peak, shelf.peak_beside) == (10, 14)
