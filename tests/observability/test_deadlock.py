"""The reference of 17.1.5: cycles are found in dumps of any shape, and the mended pair stays live and fresh."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.observability.deadlock import DB, Cache, find_deadlock, read_dump
from shared.observability.recorded_dumps import FAULTHANDLER, LOCKS, PY_SPY
from shared.simulation import explore

Lines = list[tuple[str, str, str | None, list[str]]]


def dump(threads: Lines) -> str:
    lines = []
    for number, (name, state, waits_for, holds) in enumerate(threads):
        lines += [f'Thread 0x{number:016X} ({state}): "{name}"', "    acquire (app.py:12)"]
        lines += [f"    - waiting to lock <{waits_for}> (lock)"] if waits_for else []
        lines += [f"    - locked <{lock}> (lock)" for lock in holds]
    return "\n".join(lines)


def rotations(names: list[str]) -> list[list[str]]:
    return [names[turn:] + names[:turn] for turn in range(len(names))]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 40])
def test_a_ring_is_found_whatever_the_order_of_the_threads(size: int) -> None:
    ring: Lines = [(f"t{each}", "idle", f"0x{(each + 1) % size}f", [f"0x{each}f"]) for each in range(size)]
    for seed in range(5):
        random.Random(seed).shuffle(ring)
        assert find_deadlock(dump(ring)) in rotations([f"t{each}" for each in range(size)])


def test_a_thread_that_waits_from_outside_is_not_in_the_cycle() -> None:
    threads: Lines = [("c", "idle", "0x1", ["0x9"]), ("a", "idle", "0x2", ["0x1"]), ("b", "idle", "0x1", ["0x2"])]
    assert find_deadlock(dump(threads)) in (["a", "b"], ["b", "a"])


@pytest.mark.parametrize("state", ["active", "active+gil"])
def test_an_active_thread_breaks_the_ring(state: str) -> None:
    assert find_deadlock(dump([("a", "idle", "0x2", ["0x1"]), ("b", state, "0x1", ["0x2"])])) == []


def test_threads_behind_one_that_works_are_only_slow() -> None:
    threads: Lines = [("a", "idle", "0x1", []), ("b", "idle", "0x2", ["0x1"]), ("c", "idle", None, ["0x2"])]
    assert find_deadlock(dump(threads)) == []
    assert find_deadlock("") == find_deadlock(dump([])) == []


def test_names_with_parentheses_and_foreign_lines_are_read_as_what_they_are() -> None:
    text = (
        'Thread 0x1 (active): "pool (idle) 2"\n\n    locked (pool.py:3)\n    - parking to wait for <0x7>\n'
        '    Locals: lock = <0x8>\n    - locked <0x9> (a "lock" (old))\nThread 0x2 (idle): "x"\n'
    )
    first, second = read_dump(text)
    assert first == ("pool (idle) 2", "active", None, ("0x9",), {"0x9": 'a "lock" (old)'})
    assert (second.name, second.idle, second.holds) == ("x", True, ())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_is_found_agrees_with_following_every_wait_for_as_long_as_there_are_threads(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 7))
    states = data.draw(st.lists(st.sampled_from(["idle", "active"]), min_size=size, max_size=size))
    waits = data.draw(st.lists(st.none() | st.integers(0, size - 1), min_size=size, max_size=size))
    threads: Lines = [
        (f"t{each}", states[each], None if waits[each] is None else f"0x{waits[each]}", [f"0x{each}"])
        for each in range(size)
    ]
    found = find_deadlock(dump(threads))
    edges = {
        each: waits[each]
        for each in range(size)
        if waits[each] is not None and states[each] == states[waits[each]] == "idle"
    }

    def after(start: int, steps: int) -> int | None:
        here: int | None = start
        for _ in range(steps):
            here = None if here is None else edges.get(here)
        return here

    on_a_cycle = {each for each in range(size) if any(after(each, steps) == each for steps in range(1, size + 1))}
    assert bool(found) == bool(on_a_cycle)
    numbers = [int(name[1:]) for name in found]
    assert set(numbers) <= on_a_cycle
    assert [edges[number] for number in numbers] == numbers[1:] + numbers[:1]


def test_only_the_dump_with_lock_lines_tells_the_deadlock() -> None:
    assert find_deadlock(LOCKS) == ["Thread-1 (serve)", "Thread-2 (import_prices)"]
    assert find_deadlock(PY_SPY) == find_deadlock(FAULTHANDLER) == []


class CountingRows(dict[str, Any]):
    reads = 0

    def get(self, key: str, default: Any = None) -> Any:  # type: ignore[override]
        self.reads += 1
        return super().get(key, default)


def test_a_key_is_read_once_even_if_it_is_absent_or_falsy() -> None:
    rows = CountingRows({"zero": 0})
    cache = Cache(DB(rows))
    for key, value in {"zero": 0, "absent": None}.items():
        assert [cache.get(key), cache.get(key)] == [value, value]
    assert rows.reads == 2


def test_an_update_is_seen_and_costs_no_read() -> None:
    rows = CountingRows({"a": 1, "b": 1})
    db = DB(rows)
    cache = Cache(db)
    assert (cache.get("a"), cache.get("b")) == (1, 1)
    db.update("a", 2)
    assert (cache.get("a"), cache.get("b"), rows["a"], rows.reads) == (2, 1, 2, 2)
    assert db.cache is cache


def test_a_value_that_is_set_stays_until_the_next_update() -> None:
    db = DB({"a": 1})
    cache = Cache(db)
    cache.set("a", 7)
    assert (cache.get("a"), db.query("a")) == (7, 1)
    db.update("a", 2)
    assert cache.get("a") == 2


def test_a_table_without_a_cache_works_alone() -> None:
    db = DB({})
    db.update("a", 1)
    assert (db.query("a"), db.query("b")) == (1, None)


def together(*calls: Callable[[], Any]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_get_beside_updates_neither_hangs_nor_leaves_an_old_value() -> None:
    def program() -> None:
        db = DB({"a": 1})
        cache = Cache(db)
        together(lambda: cache.get("a"), lambda: db.update("a", 2), lambda: db.update("a", 3))
        assert cache.get("a") == db.query("a"), "the cache keeps an old value"

    report = explore(program, schedules=150, answer=(Cache, DB))
    assert report.ok, str(report)


def test_the_explorer_finds_the_late_fill_that_versions_prevent() -> None:
    class Careless(Cache):
        def offer(self, key: Any, entry: Any) -> Any:
            with self._lock:
                self._entries[key] = entry
                return entry

    def program() -> None:
        db = DB({"a": 1})
        cache = Careless(db)
        together(lambda: cache.get("a"), lambda: db.update("a", 2))
        assert cache.get("a") == 2, "late fill"

    assert not explore(program, schedules=150, answer=(Careless, Cache, DB)).ok
