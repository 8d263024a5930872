"""A dump of all threads on SIGUSR1 that says who holds which lock, and who waits for it.

It has py-spy's layout with jstack's lock lines:

    install()                       # in the main thread, once
    lock = NamedLock("Cache.lock")  # in place of threading.Lock()

    $ kill -USR1 4242
    Process 4242: Python 3.11.7

    Thread 0x00007F1C8A3FE640 (idle): "Thread-3 (serve)"
        get (shop.py:12)
        - waiting to lock <0x7f1c8a2b10> (DB.lock)
        - locked <0x7f1c8a2c40> (Cache.lock)
        serve (shop.py:40)

Invariant: what a dump says about locks was true at one instant. All of it stands in one dictionary, a holder is
entered after it has the lock and taken out before it gives the lock back, and a dump begins with one copy of that
dictionary. So a cycle in a dump is a deadlock, not two moments seen as one (as long as no wait in it has a timeout).

faulthandler and py-spy show every thread and every frame, and no lock: `threading.Lock` does not know its holder.
Only locks made here are in a dump. The handler takes no lock and writes straight to a file descriptor; a thread of its
own does the work. Python runs signal handlers in the main thread, which wakes up for one from `acquire`, `join` or
`sleep`, but not from inside an extension that never returns: for that case register faulthandler too.
"""

from __future__ import annotations

import _thread
import os
import platform
import signal
import sys
import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["END", "NamedLock", "dump_threads", "install"]

END = "-- end of dump --"
"""The last line that the handler writes: whoever reads along knows that the dump is complete."""
_SAMPLE = 0.05
_BUSY = 0.002
_THREAD_FILES = Path("/proc/self/task")

_facts: dict[Any, Any] = {}
"""A lock → the ident of the thread that holds it; the ident of a thread → the lock that it waits for."""


class NamedLock:
    """A `threading.Lock` that a dump shows by name; with `reentrant`, a `threading.RLock`.

    It has all methods of the lock that it replaces and may be given to a `Condition`. Names may repeat. An
    uncontended acquire and release costs about 0.4 µs more than a bare lock's; waiting costs nothing more.
    """

    __slots__ = ("__weakref__", "_depth", "_inner", "_reentrant", "name")

    def __init__(self, name: str, *, reentrant: bool = False) -> None:
        self.name = name
        self._inner = threading.Lock()
        self._reentrant = reentrant
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As `threading.Lock.acquire`; `timeout` in seconds."""
        me = threading.get_ident()
        if self._reentrant and _facts.get(self) == me:
            self._depth += 1
            return True
        if not blocking and timeout != -1:
            raise ValueError("a call that does not wait has no timeout")
        if not self._inner.acquire(False):
            if not blocking:
                return False
            _facts[me] = self
            try:
                if not self._inner.acquire(True, timeout):
                    return False
            finally:
                del _facts[me]
        _facts[self] = me
        return True

    def release(self) -> None:
        """As `threading.Lock.release`: RuntimeError if it is not held, or, re-entrant, not by this thread."""
        if self._reentrant:
            if _facts.get(self) != threading.get_ident():
                raise RuntimeError(f"cannot release {self.name}: this thread does not hold it")
            if self._depth:
                self._depth -= 1
                return
        _facts.pop(self, None)
        self._inner.release()

    def locked(self) -> bool:
        """Whether some thread holds it."""
        return self._inner.locked()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<{'locked' if self.locked() else 'unlocked'} NamedLock {self.name!r} at {id(self):#x}>"

    # What Condition asks of a lock that may be held more than once.

    def _is_owned(self) -> bool:
        return _facts.get(self) == threading.get_ident()

    def _release_save(self) -> int:
        depth, self._depth = self._depth, 0
        self.release()
        return depth

    def _acquire_restore(self, depth: int) -> None:
        self.acquire()
        self._depth = depth


def install(signum: int | None = None, *, fd: int = 2) -> Callable[[], None]:
    """Dump all threads to the file descriptor `fd` on every signal `signum` (SIGUSR1); returns what undoes it.

    Call it from the main thread, or get ValueError. Threads are dumped by name, wherever they were started. A child
    made by fork keeps the handler.
    """
    number: int = signal.SIGUSR1 if signum is None else signum
    before = signal.signal(number, lambda *_: _dump_beside(fd))

    def uninstall() -> None:
        signal.signal(number, before)

    return uninstall


def _dump_beside(fd: int) -> None:
    """In the signal handler: start the dump in a thread of its own, which needs no lock that this thread might hold."""

    def dump() -> None:
        _write(fd, f"{dump_threads()}{END}\n")

    try:
        _thread.start_new_thread(dump, ())
    except RuntimeError:  # no more threads can be had: late, but a dump
        dump()


def _write(fd: int, text: str) -> None:
    """Past `sys.stderr`: its buffer has a lock, and its holder may be in the dump."""
    data = text.encode(errors="backslashreplace")
    with suppress(OSError):
        while data:
            data = data[os.write(fd, data) :]


def dump_threads() -> str:
    """What the handler prints, without its last line: every Python thread but the one that asks.

    Takes 50 ms: a thread that used the CPU meanwhile is active, unless it now waits for a named lock; all others are
    idle. Where the system does not tell the CPU time of a thread (Linux does), all are.
    """
    threads = {thread.ident: thread for thread in threading.enumerate()}
    before = {thread.native_id: _cpu_seconds(thread.native_id) for thread in threads.values()}
    time.sleep(_SAMPLE)
    facts = _facts.copy()
    frames = sys._current_frames()
    holders = [(lock, ident) for lock, ident in facts.items() if isinstance(lock, NamedLock)]
    lines = [f"Process {os.getpid()}: Python {platform.python_version()}", ""]
    names = _Names()
    started = {ident: place for place, ident in enumerate(threads)}
    for ident in sorted(frames, key=lambda ident: started.get(ident, len(started))):
        if ident == threading.get_ident():
            continue
        thread = threads.get(ident)
        used = _cpu_seconds(thread.native_id) - before[thread.native_id] if thread else 0.0
        waits_for = facts.get(ident)
        state = "idle" if waits_for is not None or used < _BUSY else "active"
        lines.append(f'Thread 0x{ident:016X} ({state}): "{names.unique(thread.name if thread else "unknown thread")}"')
        top, *others = [*_frames(frames[ident]), ""]
        lines.append(top)
        if waits_for is not None:
            lines.append(f"    - waiting to lock <{id(waits_for):#x}> ({waits_for.name})")
        lines += [f"    - locked <{id(lock):#x}> ({lock.name})" for lock, holder in holders if holder == ident]
        lines += others[:-1]
    return "\n".join(lines) + "\n"


def _frames(frame: types.FrameType | None) -> Iterator[str]:
    """The stack as py-spy prints it, innermost first, without what a named lock does inside."""
    while frame is not None:
        if frame.f_globals is not globals():
            yield f"    {frame.f_code.co_name} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"
        frame = frame.f_back


class _Names:
    """Thread names as a dump needs them: without quotes, in one line, and each only once."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def unique(self, name: str) -> str:
        name = "".join(letter if letter.isprintable() else " " for letter in name.replace('"', "'"))
        self._seen[name] += 1
        return name if self._seen[name] == 1 else self.unique(f"{name} #{self._seen[name]}")


def _cpu_seconds(native_id: int | None) -> float:
    """CPU time of a thread of this process; 0 where the system does not tell (it does on Linux)."""
    try:
        return int((_THREAD_FILES / str(native_id) / "schedstat").read_text().split()[0]) / 1e9
    except (OSError, ValueError, IndexError):
        pass
    try:
        fields = (_THREAD_FILES / str(native_id) / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
