"""Locks and thread handles that wait on the scheduler in a controlled thread, and for real in any other.

Invariant: each lock wraps a real lock that carries its state, so a lock is right in every thread, during a run and
after it; only the waiting differs.
"""

from __future__ import annotations

import _thread
from typing import Any

from shared.simulation.scheduler import ControlledThread, controlled
from shared.simulation.strategies import LOCKS, NESTED
from shared.simulation.wording import assigned_name, creation_site, place

_get_ident = _thread.get_ident
_new_lock = _thread.allocate_lock
_new_rlock = _thread.RLock


class CooperativeLock:
    """What `threading.Lock` and `threading.RLock` have in common."""

    __slots__ = ("__weakref__", "_real", "_waiting", "_woken", "created", "holder", "visible")

    def __init__(self, real: Any, created: tuple[str, int] | str | None, visible: bool) -> None:
        self._real = real
        self.visible = visible  # whether acquiring it is a switch point
        self._waiting: list[ControlledThread] = []
        self._woken: ControlledThread | None = None
        self.holder: ControlledThread | None = None
        self.created = created

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = controlled.get(_get_ident())
        if me is None:
            return self._real.acquire(blocking, timeout)
        scheduler = me.scheduler
        if scheduler.explore and self.visible:
            scheduler.switch_point(me, NESTED if me.locks_held else LOCKS)
        else:
            scheduler.spin(me)
            heir = self._woken
            if heir is not None and heir is not me and blocking and not heir.done:
                scheduler.give_way(me)  # first come, first served where nobody explores
        if self._real.acquire(False):
            self._hold(me)
            return True
        if not blocking:
            if timeout != -1:
                raise ValueError("can't specify a timeout for a non-blocking call")
            return False
        return self._wait(me, timeout)

    def release(self) -> None:
        self._real.release()
        self._released()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<controlled {self._real!r}>"

    def label(self, number: int | None = None) -> str:
        """The lock's name in messages; `number` tells locks apart that were created at one place."""
        if not self.visible:
            return ""
        twin = "" if number is None else f" no. {number}"
        if isinstance(self.created, str):
            return f"`{self.created}`{twin}"
        return f"{assigned_name(self.created) or 'a lock'}{twin} (created at {place(self.created)})"

    def _wait(self, me: ControlledThread, timeout: float) -> bool:
        if timeout < 0 and timeout != -1:
            raise ValueError("timeout value must be a non-negative number")
        scheduler = me.scheduler
        deadline = None if timeout == -1 else scheduler.deadline(timeout)
        if self.holder is None and not scheduler.closing:  # a thread outside the run has it: it needs no baton
            if not self._real.acquire(True, timeout):
                return False
            self._hold(me)
            return True
        while True:
            self._waiting.append(me)
            try:
                woken = scheduler.block(me, self, deadline)
            finally:
                if me in self._waiting:
                    self._waiting.remove(me)
                if self._woken is me:
                    self._woken = None
            if self._real.acquire(False):
                self._hold(me)
                return True
            if not woken:
                return False

    def _hold(self, me: ControlledThread) -> None:
        if self.visible and self.holder is not me:
            me.locks_held += 1
        self.holder = me

    def _released(self) -> None:
        """While exploring, every waiter may win the lock; otherwise the first one has it."""
        if self.visible and self.holder is not None:
            self.holder.locks_held -= 1
        self.holder = None
        if not self._waiting:
            return
        if self._waiting[0].scheduler.explore:
            woken, self._waiting = self._waiting, []
        else:
            woken = [self._waiting.pop(0)]
            self._woken = woken[0]
        for thread in woken:
            thread.scheduler.wake(thread)

    def _at_fork_reinit(self) -> None:
        self._real._at_fork_reinit()
        self._waiting.clear()
        self.holder = None


class Lock(CooperativeLock):
    """Stands for `threading.Lock`: called in a thread that is not controlled, it makes a real lock."""

    __slots__ = ()

    def __new__(cls, *args: Any) -> Any:
        return super().__new__(cls) if args or _get_ident() in controlled else _new_lock()

    def __init__(self, real: Any = None, created: tuple[str, int] | str | None = None) -> None:
        if real is None:
            created, machinery = creation_site(2)
            super().__init__(_new_lock(), created, not machinery)
        else:
            super().__init__(real, created, True)

    def locked(self) -> bool:
        return self._real.locked()

    acquire_lock = CooperativeLock.acquire
    release_lock = CooperativeLock.release
    locked_lock = locked


class InternalLock(Lock):
    """A lock of Python's own machinery (a condition's waiter, an import): acquiring it is no switch point."""

    __slots__ = ()

    def __init__(self, real: Any = None) -> None:
        CooperativeLock.__init__(self, real or _new_lock(), None, False)


class RLock(CooperativeLock):
    """Stands for `threading.RLock`; the real one knows its owner because controlled threads are real threads."""

    __slots__ = ()

    def __new__(cls, *args: Any) -> Any:
        return super().__new__(cls) if args or _get_ident() in controlled else _new_rlock()

    def __init__(self, real: Any = None, created: tuple[str, int] | str | None = None) -> None:
        if real is None:
            created, machinery = creation_site(2)
            super().__init__(_new_rlock(), created, not machinery)
        else:
            super().__init__(real, created, True)

    def release(self) -> None:
        self._real.release()
        if not self._real._is_owned():
            self._released()

    def _is_owned(self) -> bool:
        return self._real._is_owned()

    def _recursion_count(self) -> int:
        return self._real._recursion_count()

    def _release_save(self) -> Any:
        state = self._real._release_save()
        self._released()
        return state

    def _acquire_restore(self, state: Any) -> None:
        if _get_ident() not in controlled:
            self._real._acquire_restore(state)
            return
        self.acquire()
        if state[0] > 1:
            self._real.release()
            self._real._acquire_restore(state)


class ThreadHandle:
    """Stands for Python 3.13's `_thread._ThreadHandle`: how a `Thread` is joined."""

    def __new__(cls, *_: Any) -> Any:
        return super().__new__(cls) if _get_ident() in controlled else _thread._ThreadHandle()

    def __init__(self) -> None:
        self.ident: int | None = None
        self._running = InternalLock(_new_lock())
        self._done = False

    def begin(self, record: ControlledThread) -> None:
        self._running._real.acquire()
        self._running.holder = record
        record.on_exit = self._set_done

    def join(self, timeout: float | None = None) -> None:
        if not self._done and self._running.acquire(True, -1 if timeout is None else timeout):
            self._running.release()

    def is_done(self) -> bool:
        return self._done

    def _set_done(self) -> None:
        if not self._done:
            self._done = True
            if self._running.locked():
                self._running.release()
