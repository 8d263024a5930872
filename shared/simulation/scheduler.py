"""Controlled threads: real OS threads that pass one baton, under a clock that only the scheduler moves.

Invariant: at any moment at most one thread of a run executes, the one that holds the baton; virtual time moves only
when every thread of the run waits, and then to the earliest deadline.
"""

from __future__ import annotations

import _thread
import contextlib
import contextvars
import ctypes
import heapq
import itertools
import math
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from shared.simulation.outcomes import Failure, Schedule, Switch
from shared.simulation.strategies import LOCKS, Strategy
from shared.simulation.wording import answer_line, deadlock, error_text, livelock, stalled, stop_reason

QUANTUM = 1_000
"""Switch points after which the default order itself moves on, so that a spinning thread starves nobody."""

SPIN_LIMIT = 1_000_000
"""Lock and clock operations without a single wait after which a thread counts as spinning."""

STALL_SECONDS = 5.0
"""Real seconds without progress after which the baton's holder counts as blocked outside control."""

BUSY_SECONDS = 10.0
"""CPU seconds that the baton's holder may compute without reaching anything controlled."""

EXPLORED_BUSY_SECONDS = 2.0
"""The same where schedules are explored: beside others, so much computing is far more steps than a run may have."""

LEAK_GRACE_SECONDS = 1.0
"""Virtual seconds that threads get to end after the program, before they count as leaked."""

_UNWIND_TRIES = 50
_CLEANUP_OPERATIONS = 1_000
_TICK_SECONDS = 0.25
_RECALLS = 20
_NANOSECONDS = 1_000_000_000

# The real things, kept before anything is replaced.
_new_lock = _thread.allocate_lock
_get_ident = _thread.get_ident
_real_monotonic = time.monotonic

controlled: dict[int, ControlledThread] = {}
"""Thread ident → controlled thread, for the threads of the runs that are under way; empty otherwise."""


class Unwind(BaseException):
    """Raised at a wait point of a thread whose run is over, so that its `finally` blocks run and it ends."""


class Waitable(Protocol):
    """What a thread can wait for; `holder` is the thread that could end the wait, if one is known."""

    holder: ControlledThread | None


@dataclass(eq=False, slots=True)
class ControlledThread:
    """The scheduler's record of one thread of a run. Only the baton's holder touches it."""

    name: str
    scheduler: Scheduler
    function: Callable[[], Any]
    thread: threading.Thread | None = None
    gate: Any = field(default_factory=_new_lock)
    ident: int = 0
    native_id: int = 0
    done: bool = False
    blocked: bool = False
    held_back: bool = False
    abandoned: bool = False
    waits_for: Waitable | None = None
    timed_out: bool = False
    wait_number: int = 0
    unwinds: int = 0
    cleanup_operations: int = 0
    locks_held: int = 0
    trace: Callable[[bool], None] | None = None
    traced: bool = False
    on_exit: Callable[[], None] | None = None
    os_exit: Callable[[float], bool] | None = None

    def __post_init__(self) -> None:
        self.gate.acquire()


class Scheduler:
    """Runs one program. All methods but `execute` are called by the baton's holder; `wake` by any thread.

    `explore` makes every `switch_point` a place where the baton may pass; without it the baton passes only where a
    thread waits. `order_tasks` lets the strategy choose among the ready tasks of an event loop too.
    """

    def __init__(
        self,
        *,
        schedule: Schedule | None = None,
        strategy: Strategy | None = None,
        explore: bool = True,
        order_tasks: bool = False,
        max_steps: int = 200_000,
        start: float = 0.0,
        drain: bool = False,
        record: bool = False,
        instrument: Callable[[ControlledThread], Callable[[bool], None] | None] | None = None,
    ) -> None:
        self.explore = explore
        self.order_tasks = order_tasks
        self.max_steps = max_steps
        self.step = 0
        self.now_ns = round(start * _NANOSECONDS)
        self.current: ControlledThread | None = None
        self.threads: list[ControlledThread] = []
        self.ready: list[ControlledThread] = []
        self.deviations: Schedule = {}
        self.failure: Failure | None = None
        self.thread_errors: list[tuple[str, BaseException]] = []
        self.abandoned: list[str] = []
        self.leaked: tuple[str, ...] = ()
        self.closing = False
        self.switches: list[Switch] | None = [] if record else None
        self.next_thread_number = itertools.count(1).__next__
        self.next_pool_number = itertools.count().__next__
        self._schedule = schedule
        self._strategy = strategy
        # The least weight at which anything but going on can be chosen. Hot: every opcode that matters asks.
        self._heeds = 0 if schedule is not None else math.inf if strategy is None else strategy.attention
        self._drain = drain
        self._drain_until: int | None = None
        self._instrument = instrument
        self._sleepers: list[tuple[int, int, ControlledThread, int]] = []
        self._arrivals = itertools.count()
        self._names: dict[str, int] = {}
        self._slice = 0
        self._spins = 0
        self._over = False  # the baton is back with the thread that called `execute`
        self._ended = _new_lock()
        self._ended.acquire()
        self._returned = _new_lock()
        self._returned.acquire()

    # ---- running a program (called by the uncontrolled thread that wants the outcome)

    def execute(self, program: Callable[[], Any]) -> Any:
        """Run `program` as the thread "main" until it ends or fails; every thread of the run is gone afterwards.

        Returns the program's value, or None when it did not return. Raises whatever interrupts the calling thread.
        """
        result: list[Any] = [None]
        context = contextvars.copy_context()

        def body() -> None:
            try:
                result[0] = context.run(program)
            except Unwind:
                pass
            except BaseException as error:
                self.fail(Failure(_kind_of(error), error_text(error), error))

        def bootstrap() -> None:
            thread = threading.Thread(target=body, name="main", daemon=False)
            self._take_over(root, thread)
            if hasattr(thread, "_handle"):
                thread._handle.begin(root)
            threading._limbo[thread] = thread  # type: ignore[attr-defined]  # as Thread.start does
            thread._bootstrap()  # type: ignore[attr-defined]

        root = ControlledThread(self._unique("main"), self, bootstrap)
        self._launch(root)
        self.current = root
        try:
            root.gate.release()
            self._watch()
        finally:
            try:
                self._close()
            except BaseException:  # interrupted once more
                self._close()
                raise
        return result[0]

    # ---- what the baton's holder may do

    def switch_point(self, me: ControlledThread, weight: int = LOCKS) -> None:
        """A place where the baton may pass although `me` could go on; `weight` says how much it matters."""
        if self.closing:
            self._in_closing(me)
            return
        self.step += 1
        if self.step > self.max_steps:
            self._livelock(me)
        if self.ready:
            if self._slice >= QUANTUM:
                self.give_way(me)
                return
            self._slice += 1
            if weight < self._heeds:
                return
            chosen = self._choose(me, weight)
            if chosen is not me:
                self._hold_back(me)
                self._pass_baton(me, chosen, "preempted")

    def spin(self, me: ControlledThread) -> None:
        """Count an operation that neither waits nor moves time; too many of them in a row are a livelock."""
        if self.closing:
            self._in_closing(me)
            return
        self._spins += 1
        if self._spins > SPIN_LIMIT:
            self._livelock(me)

    def give_way(self, me: ControlledThread) -> None:
        """Let every other ready thread run first (`sleep(0)`)."""
        if self.closing:
            self._unwind(me)
        self._count_wait(me)
        if self.ready:
            if self._strategy is not None:
                self._strategy.gave_way(me.name)
            chosen = self._choose(None)
            self._hold_back(me)
            self._pass_baton(me, chosen, "gave way")

    def block(self, me: ControlledThread, waits_for: Waitable | None, deadline_ns: int | None) -> bool:
        """Wait until woken (True) or until the virtual instant `deadline_ns` (False)."""
        if self.closing:
            self._unwind(me)
        self._count_wait(me)
        me.waits_for = waits_for
        me.blocked = True
        me.timed_out = False
        if deadline_ns is not None:
            heapq.heappush(self._sleepers, (deadline_ns, next(self._arrivals), me, me.wait_number))
        chosen = self._next()
        if chosen is None:
            self._end(me)
        elif chosen is not me:
            self._pass_baton(me, chosen, "waited")
        else:
            self._trace_or_not(me)
        return not me.timed_out

    def wake(self, thread: ControlledThread) -> None:
        """Make a blocked thread ready; it runs when the baton comes to it. Once woken, it is not woken again."""
        if thread.blocked:
            thread.blocked = False
            thread.wait_number += 1
            thread.waits_for = None
            self._make_ready(thread)

    def deadline(self, timeout: float) -> int:
        """The virtual instant `timeout` seconds from now; a positive timeout is never rounded to nothing."""
        delay = round(timeout * _NANOSECONDS)
        if delay <= 0:
            delay = 1 if timeout > 0 else 0
        return self.now_ns + delay

    def spawn(
        self, function: Callable[[], Any], thread: threading.Thread | None = None, name: str = "thread"
    ) -> ControlledThread:
        """Start an OS thread that waits for the baton before it calls `function`, the bootstrap of `thread` if any."""
        if self.closing:
            self._unwind(controlled[_get_ident()])
        record = ControlledThread(self._unique(name), self, function)
        if thread is None:
            record.function = lambda: self._run_bare(record, function)
        else:
            self._take_over(record, thread)
        self._launch(record)
        self._make_ready(record)
        return record

    def choose_task(self, names: list[str]) -> int:
        """Index of the ready task that the event loop runs next; the default order is first come, first served."""
        self.step += 1
        if self.step > self.max_steps:
            self._livelock(controlled[_get_ident()])
        wanted = names[0]
        if self._schedule is not None:
            wanted = self._schedule.get(self.step, wanted)
        elif self._strategy is not None:
            wanted = self._strategy.choose(names, None)
        index = names.index(wanted) if wanted in names else 0
        if index:
            self.deviations[self.step] = wanted
        return index

    def note_task_switch(
        self, stopped: str, reason: str, at: tuple[str, int] | None, resumed: str, chosen: bool
    ) -> None:
        """Tell the recorded story of a run that another task of an event loop goes on."""
        if self.switches is not None:
            self.switches.append(Switch(self.step, stopped, reason, at, resumed, chosen))

    def fail(self, failure: Failure) -> None:
        """Record what went wrong; the first failure counts."""
        if self.failure is None and not self.closing:
            self.failure = failure

    # ---- choosing

    def _choose(self, current: ControlledThread | None, weight: int = LOCKS) -> ControlledThread:
        """The thread that goes on. By default `current`, else whoever has been ready longest; a thread that was held
        back goes on after all others, or when its turn is overdue.
        """
        ready = self.ready
        default = current or ready[0]
        if self._slice >= QUANTUM:
            default = next((thread for thread in ready if thread.held_back), default)
        chosen = default
        if self._schedule is not None:
            name = self._schedule.get(self.step)
            if name is not None:
                chosen = next((thread for thread in ready if thread.name == name), default)
        elif (strategy := self._strategy) and (len(ready) > 1 if current is None else weight >= strategy.attention):
            names = [thread.name for thread in ready if thread is not default]
            name = strategy.choose([default.name, *names], current and current.name)
            if name != default.name:
                chosen = next(thread for thread in ready if thread.name == name)
        if chosen is not default:
            self.deviations[self.step] = chosen.name
        if chosen is not current:
            ready.remove(chosen)
            if chosen.held_back or self._slice >= QUANTUM:
                chosen.held_back = False
                self._slice = 0
        return chosen

    def _make_ready(self, thread: ControlledThread) -> None:
        """Queue a thread behind those that are ready, but before those that are held back."""
        index = len(self.ready)
        while index and self.ready[index - 1].held_back:
            index -= 1
        self.ready.insert(index, thread)
        holder = self.current
        if holder is not None and holder is not thread and not holder.traced and holder.ident == _get_ident():
            self._trace_or_not(holder)

    def _trace_or_not(self, me: ControlledThread) -> None:
        """Trace `me`, the baton's holder, while the baton could pass: what runs beside nobody is many times faster."""
        if me.trace is not None and me.traced is not bool(self.ready):
            me.traced = not me.traced
            me.trace(me.traced)

    def _hold_back(self, me: ControlledThread) -> None:
        """Stopped where it could go on, a thread stays stopped until the others wait: races need that room."""
        me.held_back = True
        self.ready.append(me)

    def _next(self) -> ControlledThread | None:
        """Who runs when the baton's holder cannot: a ready thread, or whoever has the earliest deadline, or nobody."""
        if not self.ready and not self._advance():
            if self._drain_until is None:
                self.fail(deadlock(self))
            return None
        return self._choose(None)

    def _advance(self) -> bool:
        """Move time to the earliest deadline and wake, in order of arrival, all who wait for that instant."""
        sleepers = self._sleepers
        while sleepers and sleepers[0][2].wait_number != sleepers[0][3]:
            heapq.heappop(sleepers)
        if not sleepers or (self._drain_until is not None and sleepers[0][0] > self._drain_until):
            return False
        self.now_ns = max(self.now_ns, sleepers[0][0])
        while sleepers and sleepers[0][0] <= self.now_ns:
            _, _, thread, number = heapq.heappop(sleepers)
            if thread.wait_number == number:
                thread.timed_out = True
                self.wake(thread)
        return True

    def _count_wait(self, me: ControlledThread) -> None:
        self._spins = 0
        self.step += 1
        if self.step > self.max_steps:
            self._livelock(me)

    def _livelock(self, me: ControlledThread) -> NoReturn:
        if self._drain_until is None:
            self.fail(livelock(self, me))
        self._end(me)

    # ---- the baton

    def _pass_baton(self, me: ControlledThread, chosen: ControlledThread, reason: str) -> None:
        if self.switches is not None:
            self._note_switch(me, chosen, reason)
        self.current = chosen
        chosen.gate.release()
        me.gate.acquire()
        if self.closing:
            self._unwind(me)
        self._trace_or_not(me)

    def _note_switch(self, me: ControlledThread, chosen: ControlledThread, reason: str) -> None:
        if reason == "waited":
            reason = stop_reason(me)
        at = None if reason == "ended" else answer_line(me.ident)
        self.switches.append(Switch(self.step, me.name, reason, at, chosen.name, self.step in self.deviations))

    def _end(self, me: ControlledThread) -> NoReturn:
        """Give the baton back to the thread that called `execute`, and wait to be unwound."""
        self._hand_back()
        me.gate.acquire()
        self._unwind(me)

    def _launch(self, record: ControlledThread) -> None:
        _start_os_thread(self._carry, record)
        self.threads.append(record)

    def _carry(self, me: ControlledThread) -> None:
        """Body of every OS thread of a run."""
        _mark_exit(me)
        me.gate.acquire()
        me.ident, me.native_id = _get_ident(), _thread.get_native_id()
        controlled[me.ident] = me
        try:
            if self.closing:
                threading._limbo.pop(me.thread, None)  # type: ignore[attr-defined]  # it never came to _bootstrap
            else:
                me.function()
        except Unwind:
            pass
        finally:
            self._exit(me)

    def _take_over(self, me: ControlledThread, thread: threading.Thread) -> None:
        """Step in where the program's own code begins: in `run`, which `Thread._bootstrap` calls when it is done."""
        own_run = vars(thread).get("run")

        def run() -> None:
            del thread.run  # type: ignore[misc]  # from here on the program sees its own
            if own_run is not None:
                thread.run = own_run  # type: ignore[method-assign]
            usual_hook = threading.excepthook
            try:
                self._run_body(me, thread.run)
            except BaseException:
                if threading.excepthook is not usual_hook:
                    raise  # the program has a hook of its own, which wants to hear of it

        me.thread = thread
        thread.run = run  # type: ignore[method-assign]

    def _run_bare(self, me: ControlledThread, function: Callable[[], Any]) -> None:
        """The whole of a thread that was started without a `threading.Thread`."""
        with contextlib.suppress(BaseException):
            self._run_body(me, function)

    def _run_body(self, me: ControlledThread, body: Callable[[], Any]) -> None:
        """Run a thread's own code. What ends it is kept as a result of the run."""
        if self.explore and me is not self.threads[0]:
            self.switch_point(me)
        me.trace = self._instrument(me) if self._instrument is not None else None
        self._trace_or_not(me)
        try:
            body()
        except (Unwind, SystemExit):
            pass
        except BaseException as error:
            self.thread_errors.append((me.name, error))
            raise
        finally:
            if me.traced and me.trace is not None:
                me.trace(False)
            me.trace = None

    def _exit(self, me: ControlledThread) -> None:
        me.done = True
        if me.on_exit is not None and not me.abandoned:
            me.on_exit()
        del controlled[me.ident]
        if self.closing:
            if not me.abandoned:
                self._returned.release()
            return
        if me is self.threads[0]:
            if self.failure is not None or not self._drain:
                self._hand_back()
                return
            self._drain_until = self.deadline(LEAK_GRACE_SECONDS)
        chosen = self._next()
        if chosen is None:
            self._hand_back()
            return
        self._spins = 0
        if self.switches is not None:
            self._note_switch(me, chosen, "ended")
        self.current = chosen
        chosen.gate.release()

    def _hand_back(self) -> None:
        self._over = True
        self.leaked = tuple(thread.name for thread in self.threads[1:] if not thread.done)
        self._ended.release()

    def _unique(self, name: str) -> str:
        count = self._names[name] = self._names.get(name, 0) + 1
        return name if count == 1 else self._unique(f"{name}#{count}")

    # ---- the end of a run

    def _unwind(self, me: ControlledThread) -> NoReturn:
        me.unwinds += 1
        if me.unwinds > _UNWIND_TRIES:
            del controlled[me.ident]
            if not me.abandoned:
                self._let_go(me)
                self._returned.release()
            me.gate.acquire()  # for ever: a daemon thread that costs nothing
        raise Unwind

    def _in_closing(self, me: ControlledThread) -> None:
        """Cleanup code may lock, release and read the clock, but not for ever; code that is not unwinding yet stops."""
        me.cleanup_operations += 1
        if me.unwinds == 0 or me.cleanup_operations > _CLEANUP_OPERATIONS:
            self._unwind(me)

    def _watch(self) -> None:
        """Wait for the end of the run; call a holder of the baton that makes no progress a hang or a livelock."""
        seen: tuple[Any, ...] = ()
        since = cpu = 0.0
        busy_limit = EXPLORED_BUSY_SECONDS if self.explore else BUSY_SECONDS
        while not self._ended.acquire(timeout=_TICK_SECONDS):
            holder = self.current
            beat = (holder, self.step, self._spins, self.now_ns)
            if beat != seen:
                seen, since, cpu = beat, _real_monotonic(), _cpu_seconds(holder)
                continue
            used = _cpu_seconds(holder) - cpu
            waited = _real_monotonic() - since
            busy = used >= busy_limit
            if busy or (waited >= STALL_SECONDS and used < waited / 20):
                self.fail(stalled(self, holder, busy=busy, seconds=busy_limit if busy else STALL_SECONDS))
                self.closing = True
                self._recall()
                return
        self.closing = True

    def _close(self) -> None:
        """Unwind the threads that are left, one at a time, and wait until their OS threads are gone."""
        if not self.closing:  # interrupted: the holder still runs
            self.closing = True
            if not self._over:
                self._recall()
        for thread in self.threads:
            if not thread.done and not thread.abandoned:
                self.current = thread
                if thread.gate.locked():
                    thread.gate.release()
                if not any(self._returns() for _ in range(_RECALLS)):
                    self._let_go(thread)
        for thread in self.threads:
            if not thread.abandoned and thread.os_exit is not None and not thread.os_exit(STALL_SECONDS):
                self._let_go(thread)

    def _recall(self) -> None:
        """Get the baton back from a thread that runs; it may also give it back before it sees the end of the run."""
        if not any(self._returns() or self._over for _ in range(_RECALLS)):
            self._let_go(self.current)

    def _returns(self) -> bool:
        """Whether the baton's holder ends within a moment. If not, break into it: it may be in a loop without waits."""
        if self._returned.acquire(timeout=_TICK_SECONDS):
            return True
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.current.ident), ctypes.py_object(Unwind))
        return False

    def _let_go(self, thread: ControlledThread) -> None:
        """Give up on a thread that does not end: the interpreter must not wait for it either."""
        thread.abandoned = True
        self.abandoned.append(thread.name)
        if thread.on_exit is not None:
            thread.on_exit()
        if thread.thread is not None:
            thread.thread._daemonic = True  # type: ignore[attr-defined]


def _kind_of(error: BaseException) -> str:
    return "invariant" if isinstance(error, AssertionError) else "exception"


def _cpu_seconds(thread: ControlledThread) -> float:
    """CPU time of a thread; where the system does not tell, real time, which makes every stall a busy one."""
    if not sys.platform.startswith("linux"):
        return _real_monotonic()
    try:
        return time.clock_gettime(~thread.native_id << 3 | 6)  # Linux's name for "CPU time of the thread with this id"
    except OSError:
        return 0.0  # it has just ended


if hasattr(_thread, "start_joinable_thread"):  # Python 3.13 and later
    _start_joinable = _thread.start_joinable_thread

    def _start_os_thread(body: Callable[[ControlledThread], None], record: ControlledThread) -> None:
        handle = _start_joinable(lambda: body(record), daemon=True)
        record.ident = handle.ident

        def gone(timeout: float) -> bool:
            handle.join(timeout)
            return handle.is_done()

        record.os_exit = gone

    def _mark_exit(record: ControlledThread) -> None:
        """The handle knows."""

else:
    _start_new_thread = _thread.start_new_thread
    _new_sentinel = _thread._set_sentinel

    def _start_os_thread(body: Callable[[ControlledThread], None], record: ControlledThread) -> None:
        record.ident = _start_new_thread(body, (record,))

    def _mark_exit(record: ControlledThread) -> None:
        """Called in the OS thread: keep the lock that the interpreter releases when the thread is gone."""
        lock = _new_sentinel()
        lock.acquire()
        record.os_exit = lambda timeout: lock.acquire(timeout=timeout)
