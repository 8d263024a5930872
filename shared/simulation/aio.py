"""An asyncio event loop for controlled threads: its only wait is a `threading.Condition`, so its time is virtual.

Invariant: timers, `call_soon_threadsafe`, executors and cancellation are asyncio's own code; only the wait for input
and, where the explorer asks for it, the order of the ready tasks differ.
"""

from __future__ import annotations

import asyncio
import collections
import threading
import time
import weakref
from collections.abc import Coroutine
from typing import Any, NoReturn

from shared.simulation.scheduler import Scheduler, controlled
from shared.simulation.wording import task_line

OVERTAKES = 16
"""How many tasks in a row may be run before the one that has been ready longest: a polling task starves nobody."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Made in a controlled thread by `asyncio.run`, `asyncio.Runner` or `asyncio.new_event_loop`."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Wait()
        self._scheduler: Scheduler = controlled[threading.get_ident()].scheduler
        self._task_count = 0
        self._task_names: weakref.WeakKeyDictionary[asyncio.Task[Any], str] = weakref.WeakKeyDictionary()
        self._names_given: collections.Counter[str] = collections.Counter()
        if self._scheduler.order_tasks:
            self._ready = _ReadyQueue(self)

    def create_task(self, coro: Coroutine[Any, Any, Any], *, name: object = None, **options: Any) -> asyncio.Task[Any]:
        """As usual; default names count from the start of the run, so that they are the same in every run."""
        if name is None:
            self._task_count += 1
            name = f"Task-{self._task_count}"
        return super().create_task(coro, name=name, **options)

    def unique_name(self, task: asyncio.Task[Any]) -> str:
        """What schedules and reports call `task`."""
        known = self._task_names.get(task)
        if known is None:
            name = task.get_name()
            if name.startswith("Task-"):
                name = f"{name} ({getattr(task.get_coro(), '__name__', 'task')})"
            self._names_given[name] += 1
            known = name if self._names_given[name] == 1 else f"{name}#{self._names_given[name]}"
            self._task_names[task] = known
        return known

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Errors that nobody awaits belong to the run's outcome, unless the program has its own handler."""
        if self.get_exception_handler() is not None:
            super().call_exception_handler(context)
        elif isinstance(error := context.get("exception"), Exception) and not self._scheduler.closing:
            task = context.get("task") or context.get("future")
            name = self.unique_name(task) if isinstance(task, asyncio.Task) else "event loop"
            self._scheduler.thread_errors.append((name, error))

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none: nothing can be registered."""

    def _write_to_self(self) -> None:
        self._selector.wake()

    def _no_input_or_output(self, *_: Any, **__: Any) -> NoReturn:
        raise RuntimeError(
            "sockets, pipes, subprocesses and signals are outside virtual time: give the code under test a fake of them"
        )

    add_reader = add_writer = remove_reader = remove_writer = _no_input_or_output
    add_signal_handler = remove_signal_handler = _no_input_or_output
    sock_recv = sock_recv_into = sock_recvfrom = sock_sendall = sock_sendto = _no_input_or_output
    sock_connect = sock_accept = sock_sendfile = getaddrinfo = getnameinfo = _no_input_or_output
    create_connection = create_server = create_datagram_endpoint = _no_input_or_output
    create_unix_connection = create_unix_server = connect_accepted_socket = start_tls = sendfile = _no_input_or_output
    connect_read_pipe = connect_write_pipe = subprocess_exec = subprocess_shell = _no_input_or_output


class _Wait:
    """The part of a selector that a loop without input needs."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._woken = False

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is not None and timeout <= 0:
            time.sleep(0)  # a busy loop lets other threads run
            return []
        with self._condition:
            if not self._woken:
                self._condition.wait(timeout)
            self._woken = False
        return []

    def wake(self) -> None:
        with self._condition:
            self._woken = True
            self._condition.notify()


class _ReadyQueue(collections.deque[asyncio.Handle]):
    """The loop's ready handles: a task may overtake what is before it, plain callbacks keep their order."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop
        self._overtaken = 0
        self._running: asyncio.Task[Any] | None = None

    def popleft(self) -> asyncio.Handle:
        tasks = [_task_of(handle) for handle in self]
        positions = [index for index, task in enumerate(tasks) if index == 0 or task is not None]
        names = [self._name(tasks[index]) for index in positions]
        scheduler = self._loop._scheduler
        picked = 0
        if len(positions) > 1 and self._overtaken < OVERTAKES:
            picked = scheduler.choose_task(names)
        self._overtaken = self._overtaken + 1 if picked else 0
        index = positions[picked]
        if tasks[index] is not None:
            self._note_switch(tasks[index], chosen=bool(picked))
        handle = self[index]
        del self[index]
        return handle

    def _name(self, task: asyncio.Task[Any] | None) -> str:
        return "a callback" if task is None else self._loop.unique_name(task)

    def _note_switch(self, task: asyncio.Task[Any], chosen: bool) -> None:
        if task.get_coro().__qualname__.startswith("BaseEventLoop."):
            return  # asyncio.run cleans up
        last, self._running = self._running, task
        if last is None or (last is task and not chosen):
            return
        at = None if last.done() else task_line(last)
        reason = "ended" if last.done() else "awaited"
        self._loop._scheduler.note_task_switch(self._name(last), reason, at, self._name(task), chosen)


def _task_of(handle: asyncio.Handle) -> asyncio.Task[Any] | None:
    """The task whose next step a handle is; cancelled handles and other callbacks have none."""
    owner = getattr(handle._callback, "__self__", None)
    return owner if isinstance(owner, asyncio.Task) else None
