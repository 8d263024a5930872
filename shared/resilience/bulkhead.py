"""Bulkheads for threads and for asyncio: each tenant has its own places to run and its own bounded waiting room.

Invariant: while a call of a tenant waits, all places of that tenant are taken. A permit that comes back goes straight
to the call that has waited longest, in one step, so none is lost, none is given twice, and nobody overtakes.

The pattern is Nygard's, "Release It!"; `max_concurrent` and a bounded queue are what resilience4j's ThreadPoolBulkhead
and Polly's concurrency limiter have. It differs where users of bulkheads were hurt:

- `timeout` covers waiting and running together, so a call costs its caller what it said and no more;
- a waiter that times out is gone: its place is free at once and its function never runs;
- a running call that times out keeps its permit until it has really ended: a thread cannot be stopped, and the load
  that it puts on whatever it calls is still there;
- the permit is back before the outcome reaches the caller, so whoever asks again at once is not refused.

All times are seconds.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from shared.resilience.contracts import TenantLimit

__all__ = ["AsyncBulkhead", "Bulkhead", "Compartment", "Event", "Expired", "Finished", "Rejected", "Usage"]

R = TypeVar("R")
C = TypeVar("C")

_IDLE_SECONDS = 10.0  # a worker thread that finds nothing to do for so long ends
_log = logging.getLogger(__name__)


class Usage(NamedTuple):
    """How much of its share a tenant uses at one instant: calls that run, and calls that wait for a place."""

    running: int
    waiting: int


class Rejected(NamedTuple):
    """The waiting room was full: the call was not made."""

    at: float
    tenant: str


class Expired(NamedTuple):
    """A caller's timeout ran out. `running`: its call had begun, and keeps its permit until it ends."""

    at: float
    tenant: str
    running: bool


class Finished(NamedTuple):
    """A call ended, in time or after its caller had left; it had waited `waited` and ran for `ran` seconds."""

    at: float
    tenant: str
    waited: float
    ran: float
    failed: bool


Event = Rejected | Expired | Finished


class Compartment(Generic[C]):
    """The rules alone, for one tenant: who runs, who waits, who is turned away. O(1); the owner holds a lock."""

    __slots__ = ("_limit", "_waiting", "running")

    def __init__(self, limit: TenantLimit) -> None:
        self._limit = limit
        self._waiting: OrderedDict[C, None] = OrderedDict()
        self.running = 0

    @property
    def has_place(self) -> bool:
        """Whether `enter` would let a call run at once."""
        return self.running < self._limit.max_concurrent

    @property
    def usage(self) -> Usage:
        return Usage(self.running, len(self._waiting))

    def enter(self, call: C) -> bool:
        """True: `call` holds a permit and runs. False: it waits. Raises queue.Full when it may do neither."""
        if self.running < self._limit.max_concurrent:
            self.running += 1
            return True
        if len(self._waiting) >= self._limit.max_waiting:
            raise queue.Full
        self._waiting[call] = None
        return False

    def leave(self) -> C | None:
        """A running call has ended: return the call that holds its permit now, if any waited."""
        if self._waiting:
            return self._waiting.popitem(last=False)[0]
        self.running -= 1
        return None

    def give_up(self, call: C) -> bool:
        """Take a waiting call out. False: it does not wait (any more)."""
        if call in self._waiting:
            del self._waiting[call]
            return True
        return False


class Bulkhead:
    """Runs calls in threads of their tenant, so that no tenant's calls take the places of another's.

    `limits` is read once. `clock` stamps the events; timeouts are waited for on the system's monotonic clock.
    `on_event`, if given, is called with each `Event`, in a caller's or a worker's thread; what it raises is logged and
    goes no further. Worker threads are daemons, at most `max_concurrent` per tenant, and end when idle for 10 s.

    Thread-safe. A tenant's lock is held for a constant number of steps, and while one of its threads is started; never
    while a function, the clock or the hook runs. Tenants have no lock in common.
    """

    __slots__ = ("_clock", "_on_event", "_tenants")

    def __init__(
        self,
        limits: Mapping[str, TenantLimit],
        clock: Callable[[], float] = time.monotonic,
        *,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        self._clock, self._on_event = clock, on_event
        self._tenants = {name: _Tenant(name, limit, clock, on_event) for name, limit in limits.items()}

    def submit(self, tenant: str, fn: Callable[[], R], timeout: float) -> R:
        """Run `fn()` in a thread of `tenant`, in a copy of the caller's context: its value, or its exception.

        Raises KeyError for a tenant without a limit; queue.Full, at once, when its waiting room is full; TimeoutError
        when `fn` has not ended after `timeout` seconds, waiting included; ValueError for a negative timeout.
        """
        home = _known(self._tenants, tenant)
        _check(timeout)
        call = _Call(fn, self._clock())
        try:
            home.enter(call)
        except queue.Full:
            _tell(self._on_event, Rejected, call.entered_at, tenant)
            raise queue.Full(_full(tenant)) from None
        try:
            in_time = call.done.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))
        except BaseException:  # Ctrl-C while waiting: this caller goes, too
            home.give_up(call)
            raise
        if not in_time:
            waited = home.give_up(call)
            if not call.ended:
                _tell(self._on_event, Expired, self._clock(), tenant, not waited)
                raise TimeoutError(_expired(tenant, timeout, running=not waited))
        return call.outcome()

    def usage(self, tenant: str) -> Usage:
        """What runs and what waits of `tenant` now. Raises KeyError for a tenant without a limit."""
        return _known(self._tenants, tenant).usage()


class _Call:
    """One call, from its caller to the thread that runs it and back."""

    __slots__ = ("context", "done", "ended", "entered_at", "error", "fn", "value")

    def __init__(self, fn: Callable[[], Any], entered_at: float) -> None:
        self.fn = fn
        self.entered_at = entered_at
        self.context = contextvars.copy_context()
        self.done = threading.Lock()  # held until the outcome is there: the cheapest thing to wait for, once
        self.done.acquire()
        self.ended = False  # set under the tenant's lock, with the permit's return
        self.value: Any = None
        self.error: BaseException | None = None

    def run(self) -> bool:
        """Run the function and keep its outcome. True: it returned."""
        try:
            self.value = self.context.run(self.fn)
        except BaseException as error:
            self.error = error
            return False
        return True

    def outcome(self) -> Any:
        if self.error is None:
            return self.value
        try:
            raise self.error
        finally:
            self.error = None  # its traceback holds this frame, and with it the call: no cycle


class _Tenant:
    """A compartment, its lock, and the threads that run its calls."""

    __slots__ = ("_clock", "_compartment", "_idle", "_lock", "_name", "_on_event")

    def __init__(
        self, name: str, limit: TenantLimit, clock: Callable[[], float], on_event: Callable[[Event], object] | None
    ) -> None:
        self._name, self._clock, self._on_event = name, clock, on_event
        self._compartment: Compartment[_Call] = Compartment(limit)
        self._lock = threading.Lock()
        self._idle: list[queue.SimpleQueue[_Call]] = []  # inboxes of the threads without a call, warmest last

    def enter(self, call: _Call) -> None:
        with self._lock:
            if self._compartment.has_place and not self._idle:
                self._start(call)  # raises before anything has changed when the system has no thread left
                self._compartment.enter(call)
                return
            if not self._compartment.enter(call):
                return
            inbox = self._idle.pop()
        inbox.put(call)

    def give_up(self, call: _Call) -> bool:
        with self._lock:
            return self._compartment.give_up(call)

    def usage(self) -> Usage:
        with self._lock:
            return self._compartment.usage

    def _start(self, call: _Call) -> None:
        inbox: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        inbox.put(call)
        threading.Thread(target=self._work, args=(inbox,), name=f"bulkhead {self._name}", daemon=True).start()

    def _work(self, inbox: queue.SimpleQueue[_Call]) -> None:
        while (call := self._next(inbox)) is not None:
            following: _Call | None = call
            while following is not None:
                following = self._run(following, inbox)
            del call

    def _next(self, inbox: queue.SimpleQueue[_Call]) -> _Call | None:
        try:
            return inbox.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            with self._lock:
                if inbox in self._idle:
                    self._idle.remove(inbox)
                    return None
        return inbox.get()  # somebody has just chosen this thread

    def _run(self, call: _Call, inbox: queue.SimpleQueue[_Call]) -> _Call | None:
        """Run `call`; return the one that its permit goes to, if any waits."""
        began = self._clock()
        well = call.run()
        now = self._clock()
        with self._lock:
            following = self._compartment.leave()
            if following is None:
                self._idle.append(inbox)
            call.ended = True
        _tell(self._on_event, Finished, now, self._name, began - call.entered_at, now - began, not well)
        call.done.release()
        return following


class AsyncBulkhead:
    """`Bulkhead` for coroutine functions, within one event loop: same limits, same errors, same order.

    A running call that times out is cancelled, and `submit` raises when it has ended; until then it keeps its permit.
    Cancelling `submit` does the same. Belongs to one event loop, and is not thread-safe.
    """

    __slots__ = ("_clock", "_on_event", "_tenants")

    def __init__(
        self,
        limits: Mapping[str, TenantLimit],
        clock: Callable[[], float] = time.monotonic,
        *,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        self._clock, self._on_event = clock, on_event
        self._tenants: dict[str, Compartment[asyncio.Future[None] | None]] = {
            name: Compartment(limit) for name, limit in limits.items()
        }

    async def submit(self, tenant: str, fn: Callable[[], Awaitable[R]], timeout: float) -> R:
        """Await `fn()` in a place of `tenant`; errors as for `Bulkhead.submit`."""
        home = _known(self._tenants, tenant)
        _check(timeout)
        entered_at = self._clock()
        turn = None if home.has_place else asyncio.get_running_loop().create_future()
        try:
            home.enter(turn)
        except queue.Full:
            _tell(self._on_event, Rejected, entered_at, tenant)
            raise queue.Full(_full(tenant)) from None
        running = turn is None
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                if turn is not None:
                    await self._wait(home, turn)
                    running = True
                return await self._run(home, tenant, fn, entered_at)
        except TimeoutError as error:
            if not limit.expired() or not isinstance(error.__cause__, asyncio.CancelledError):
                raise
            _tell(self._on_event, Expired, self._clock(), tenant, running)
            raise TimeoutError(_expired(tenant, timeout, running)) from error.__cause__

    def usage(self, tenant: str) -> Usage:
        """What runs and what waits of `tenant` now. Raises KeyError for a tenant without a limit."""
        return _known(self._tenants, tenant).usage

    async def _wait(self, home: Compartment[asyncio.Future[None] | None], turn: asyncio.Future[None]) -> None:
        try:
            await turn
        except BaseException:
            if not home.give_up(turn):
                _hand_on(home)  # the permit came in the very moment in which this caller left
            raise

    async def _run(
        self,
        home: Compartment[asyncio.Future[None] | None],
        tenant: str,
        fn: Callable[[], Awaitable[R]],
        entered_at: float,
    ) -> R:
        began = self._clock()
        well = False
        try:
            value = await fn()
            well = True
            return value
        finally:
            _hand_on(home)
            if self._on_event is not None:
                now = self._clock()
                _tell(self._on_event, Finished, now, tenant, began - entered_at, now - began, not well)


def _hand_on(home: Compartment[asyncio.Future[None] | None]) -> None:
    following = home.leave()
    if following is not None and not following.done():
        following.set_result(None)


def _known(tenants: Mapping[str, C], tenant: str) -> C:
    try:
        return tenants[tenant]
    except KeyError:
        raise KeyError(f"no limit for tenant {tenant!r}, only for {', '.join(map(repr, tenants))}") from None


def _check(timeout: float) -> None:
    if not timeout >= 0:
        raise ValueError(f"timeout is a duration in seconds: not negative, not {timeout!r}")


def _full(tenant: str) -> str:
    return f"tenant {tenant!r} has no place free, neither to run nor to wait"


def _expired(tenant: str, timeout: float, running: bool) -> str:
    return f"tenant {tenant!r}: {'still running' if running else 'still waiting for a place'} after {timeout:g} s"


def _tell(hook: Callable[[Event], object] | None, kind: Callable[..., Event], *fields: Any) -> None:
    if hook is not None:
        try:
            hook(kind(*fields))
        except Exception:
            _log.exception("on_event failed")
