"""Named locks behave as the locks that they replace, and a dump tells who holds and who waits."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from shared.observability import thread_dump
from shared.observability.deadlock import DumpedThread, find_deadlock, read_dump
from shared.observability.thread_dump import END, NamedLock, dump_threads, install


@pytest.fixture(autouse=True)
def no_fact_is_left() -> Iterator[None]:
    yield
    assert thread_dump._facts == {}


@contextmanager
def running(name: str, body: Callable[[], object]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    yield thread
    thread.join(10)
    assert not thread.is_alive()


def dumped(name: str, until: Callable[[DumpedThread], bool] = lambda thread: True) -> DumpedThread:
    """The thread called `name`, in the first dump of which `until` holds."""
    while True:
        for thread in read_dump(dump_threads()):
            if thread.name == name and until(thread):
                return thread


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_lock_excludes_and_says_whether_it_is_taken(reentrant: bool) -> None:
    lock = NamedLock("L", reentrant=reentrant)
    taken = []
    with lock:
        assert lock.locked()
        assert "locked" in repr(lock)
        with running("other", lambda: taken.append(lock.acquire(False))):
            pass
        with running("other", lambda: taken.append(lock.acquire(timeout=0.01))):
            pass
    assert (taken, lock.locked()) == ([False, False], False)
    assert lock.acquire(False)
    lock.release()


def test_a_re_entrant_lock_is_free_only_after_as_many_releases() -> None:
    lock = NamedLock("L", reentrant=True)
    with lock, lock:
        lock.acquire()
        lock.release()
        assert lock.locked()
    assert not lock.locked()
    with pytest.raises(RuntimeError, match="does not hold it"):
        lock.release()


def test_misuse_is_refused_as_by_threading() -> None:
    lock = NamedLock("L")
    with pytest.raises(RuntimeError):
        lock.release()
    with pytest.raises(ValueError, match="no timeout"):
        lock.acquire(False, 1.0)


def test_a_plain_lock_may_be_released_by_another_thread() -> None:
    lock = NamedLock("L")
    lock.acquire()
    with running("other", lock.release):
        pass
    assert not lock.locked()


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_condition_waits_on_a_named_lock(reentrant: bool) -> None:
    condition = threading.Condition(NamedLock("L", reentrant=reentrant))  # type: ignore[arg-type]
    ready: list[int] = []

    def wait() -> None:
        with condition:
            assert condition.wait_for(lambda: ready, timeout=10)

    with running("waiter", wait), condition:
        ready.append(1)
        condition.notify()


def test_a_dump_names_the_lock_that_is_waited_for_and_its_holder() -> None:
    lock, other = NamedLock("Cache.lock"), NamedLock("DB.lock")

    def body() -> None:
        with other, lock:
            pass

    lock.acquire()
    with running("Thread (one) 1", body):
        waiter = dumped("Thread (one) 1", lambda thread: thread.waits_for is not None)
        assert (waiter.state, waiter.waits_for, waiter.holds) == ("idle", f"{id(lock):#x}", (f"{id(other):#x}",))
        assert waiter.labels == {f"{id(lock):#x}": "Cache.lock", f"{id(other):#x}": "DB.lock"}
        lock.release()


def test_the_top_frame_is_the_programs_and_not_the_locks() -> None:
    lock = NamedLock("L")

    def wait_for_it() -> None:
        with lock:
            pass

    lock.acquire()
    with running("waiter", wait_for_it):
        dumped("waiter", lambda thread: thread.waits_for is not None)
        lines = dump_threads().splitlines()
        top = lines[lines.index(next(line for line in lines if line.endswith('"waiter"'))) + 1]
        lock.release()
    assert top.startswith("    wait_for_it (test_thread_dump.py:")


def test_a_thread_that_computes_is_active_and_one_that_waits_is_idle() -> None:
    stop, rest = threading.Event(), threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(1000))

    with running("busy", compute), running("resting", rest.wait):
        assert dumped("busy", lambda thread: thread.state != "idle").state == "active"
        assert dumped("resting").state == "idle"
        stop.set()
        rest.set()


def test_names_are_made_unique_and_fit_into_one_line() -> None:
    stop = threading.Event()
    with running('a "b"\nc', stop.wait), running('a "b"\nc', stop.wait):
        names = {thread.name for thread in read_dump(dump_threads())}
        stop.set()
    assert {"a 'b' c", "a 'b' c #2"} <= names


def test_a_real_cycle_is_found_in_a_dump_of_this_very_process() -> None:
    locks = [NamedLock(f"lock {each}") for each in range(3)]
    together, enough = threading.Barrier(3), threading.Event()

    def body(each: int) -> None:
        following = locks[(each + 1) % 3]
        with locks[each]:
            together.wait()
            while not enough.is_set():
                if following.acquire(timeout=0.3):
                    following.release()

    with running("a", lambda: body(0)), running("b", lambda: body(1)), running("c", lambda: body(2)):
        found: list[str] = []
        while not found:
            found = find_deadlock(dump_threads())
        enough.set()
    assert found in (["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"])


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no SIGUSR1")
def test_the_signal_writes_one_whole_dump_and_can_be_uninstalled() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    read_end, write_end = os.pipe()
    uninstall = install(fd=write_end)
    try:
        signal.raise_signal(signal.SIGUSR1)
        text = b""
        while not text.endswith(f"{END}\n".encode()):
            text += os.read(read_end, 65536)
    finally:
        uninstall()
        os.close(read_end)
        os.close(write_end)
    assert text.count(b"Process ") == 1
    assert b'"MainThread"' in text
    assert signal.getsignal(signal.SIGUSR1) is before


def test_it_is_installed_from_the_main_thread_only() -> None:
    errors = []

    def body() -> None:
        try:
            install(signal.SIGTERM)
        except ValueError as error:
            errors.append(error)

    with running("other", body):
        pass
    assert len(errors) == 1
