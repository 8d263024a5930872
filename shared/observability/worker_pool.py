"""A bounded, resizable pool of worker threads: runs what it accepts, and refuses at once what it cannot hold.

Invariant: an accepted task's Future always resolves, and at most `queue_size` tasks wait beyond those that a free
worker is about to take.

A deque and one Condition, instead of ThreadPoolExecutor's unbounded queue, semaphore and two locks: everything that
must agree (waiting tasks, busy workers, wanted workers) changes under one lock, which is held for a constant number of
steps and never while a task runs.

One worker is woken at a time, and wakes the next if tasks still wait: a burst of short tasks does not make all workers
fight for the lock. While tasks wait and a worker sleeps, some worker is waking up.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from shared.observability.contracts import Saturated

__all__ = ["Runner", "WorkerPool", "run_task"]

R = TypeVar("R")

Runner = Callable[[Future[Any], Callable[..., Any], tuple[Any, ...]], object]
"""Runs `fn(*args)` and resolves the Future, or drops it if it was cancelled; what `run_task` does."""

_log = logging.getLogger(__name__)


def run_task(future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Resolve `future` with what `fn(*args)` returns or raises, BaseException included; skip it if it was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        value = fn(*args)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(value)
    finally:
        del future  # the error's traceback holds this frame: no cycle


class WorkerPool:
    """Runs tasks in `workers` daemon threads; at most `queue_size` tasks wait for one of them. Thread-safe.

    `new_runner`, if given, is called once for each worker thread that is started, and what it returns runs that
    worker's tasks in place of `run_task`: a place for counts that one thread alone writes. Unused, it costs nothing.

    A task's context variables are the worker's own, not the submitter's. Also a context manager: leaving it shuts the
    pool down and waits. Raises ValueError for fewer than 1 worker or a negative `queue_size`.
    """

    def __init__(self, workers: int, queue_size: int, *, new_runner: Callable[[], Runner] = lambda: run_task) -> None:
        if queue_size < 0:
            raise ValueError(f"queue_size counts waiting tasks: not negative, not {queue_size!r}")
        self._queue_size = queue_size
        self._new_runner = new_runner
        self._queue: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._threads: dict[threading.Thread, None] = {}  # in the order of their start, the same in every replay
        self._workers = 0  # as many as there should be; after a shrink, surplus threads leave when their task ends
        self._busy = 0  # workers that hold a task
        self._sleeping = 0  # workers in `wait`
        self._waking = False  # one of them has been notified, to take a task
        self._closed = False
        try:
            self.resize(workers)
        except BaseException:
            self.shutdown(wait=False)
            raise

    @property
    def workers(self) -> int:
        """How many workers there should be. Fewer than before: some may still be busy with their last task."""
        return self._workers

    @property
    def queued(self) -> int:
        """Accepted tasks that no worker has taken yet: up to `queue_size`, and one per worker that is waking up."""
        return len(self._queue)

    def submit(self, fn: Callable[..., R], /, *args: Any) -> Future[R]:
        """Have a worker call `fn(*args)`; never blocks.

        Raises Saturated, at once, when `queue_size` tasks wait already; RuntimeError after `shutdown`.
        """
        future: Future[R] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("this worker pool was shut down: it takes no more tasks")
            free = self._workers - self._busy
            if len(self._queue) - (free if free > 0 else 0) >= self._queue_size:
                raise Saturated(f"all {self._workers} workers are busy and {len(self._queue)} tasks wait")
            self._queue.append((future, fn, args))
            if self._sleeping and not self._waking:
                self._wake_one()
        return future

    def resize(self, workers: int) -> None:
        """Have `workers` workers from now on. Nobody is interrupted: surplus ones leave when their task has ended.

        Raises ValueError for fewer than 1, RuntimeError after `shutdown` or when the system has no thread left.
        """
        if workers < 1:
            raise ValueError(f"workers counts threads: at least 1, not {workers!r}")
        with self._lock:
            if self._closed:
                raise RuntimeError("this worker pool was shut down: it cannot be resized")
            while len(self._threads) < workers:
                self._start_one()
                self._workers = max(self._workers, len(self._threads))
            self._workers = workers
            self._changed.notify_all()

    def shutdown(self, wait: bool = True) -> None:
        """Take no more tasks; those accepted still run. `wait`: return when all of them have ended, and all workers."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()
            threads = [each for each in self._threads if each is not threading.current_thread()]
        if wait:
            for thread in threads:
                thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()

    def _start_one(self) -> None:
        thread = threading.Thread(target=self._work, args=(self._new_runner(),), name="worker", daemon=True)
        self._threads[thread] = None
        try:
            thread.start()
        except BaseException:
            self._threads.pop(thread, None)
            raise

    def _wake_one(self) -> None:
        self._waking = True
        self._changed.notify()

    def _work(self, run: Runner) -> None:
        lock, queue = self._lock, self._queue
        held = 0  # tasks that this worker holds
        while True:
            with lock:
                self._busy -= held
                while not queue or len(self._threads) > self._workers:
                    if self._closed or len(self._threads) > self._workers:
                        self._threads.pop(threading.current_thread(), None)
                        return
                    self._sleep()
                task = queue.popleft()
                held = 1
                self._busy += held
                if queue and self._sleeping and not self._waking:
                    self._wake_one()
            try:
                run(*task)
            except Exception:
                _log.exception("a worker's runner failed")
            except BaseException:  # out of a callback of the Future, which has its outcome: the worker goes on
                _log.debug("a callback of a task's Future raised", exc_info=True)
            del task

    def _sleep(self) -> None:
        self._sleeping += 1
        try:
            self._changed.wait()
        finally:
            self._sleeping -= 1
            self._waking = False
