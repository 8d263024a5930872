"""A worker pool whose tasks are spans of the request that submitted them, and a request that fans out over it.

Invariant: a task sees exactly the context of its submitter: its span, its correlation id, its baggage; and the worker's
own context is never changed, so there is nothing to put back and nothing to leak.

Each submit takes a copy of the submitter's context (`contextvars.copy_context`, PEP 567), which is O(1), and the task
runs in that copy. A copy belongs to one task: a `Context` that is entered already cannot be entered again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self, TypeVar

from opentelemetry.trace import Span, Status, StatusCode, Tracer

from shared.observability.contracts import correlation_id, process_item
from shared.observability.worker_pool import WorkerPool

__all__ = ["TracedWorkerPool", "process_request"]

R = TypeVar("R")


class TracedWorkerPool:
    """A `WorkerPool` that runs each task in a span named after its function, a child of the submitter's. Thread-safe.

    The span begins when a worker takes the task, so waiting in the queue is in the request's span only, and it ends
    before the task's Future resolves. It carries `correlation_id`, where there is one. Also a context manager: leaving
    it shuts the pool down and waits. Raises ValueError for fewer than 1 worker or a negative `queue_size`.
    """

    def __init__(self, workers: int, queue_size: int, tracer: Tracer) -> None:
        self._tracer = tracer
        self._pool = WorkerPool(workers, queue_size)

    def submit(self, fn: Callable[..., R], /, *args: Any) -> Future[R]:
        """Have a worker call `fn(*args)` in the caller's context; never blocks.

        Raises Saturated, at once and without a span, when `queue_size` tasks wait; RuntimeError after `shutdown`.
        """
        return self._pool.submit(copy_context().run, self._run, fn, args)

    def shutdown(self, wait: bool = True) -> None:
        """Take no more tasks; those accepted still run. `wait`: return when all of them have ended, and all workers."""
        self._pool.shutdown(wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()

    def _run(self, fn: Callable[..., R], args: tuple[Any, ...]) -> R:
        with _span(self._tracer, getattr(fn, "__name__", type(fn).__name__)):
            return fn(*args)


def process_request(tracer: Tracer, pool: TracedWorkerPool, items: Iterable[Callable[[], R]]) -> list[R]:
    """Have `pool` process all `items` inside one span; their results, in the order of the items.

    Where items raised, raises what the first of them in that order raised, once all have ended. Where the pool refuses
    an item, raises Saturated once those before it have ended. So no span of a task outlives the request's.
    """
    with _span(tracer, "process_request"):
        futures: list[Future[R]] = []
        try:
            for item in items:
                futures.append(pool.submit(process_item, item))
        finally:
            wait(futures)
        return [future.result() for future in futures]


@contextmanager
def _span(tracer: Tracer, name: str) -> Iterator[Span]:
    """A current span with the correlation id, whose status is ERROR whatever is raised in it.

    The API's own context manager leaves the status unset for a BaseException that is no Exception, such as SystemExit.
    """
    correlation = correlation_id.get()
    with tracer.start_as_current_span(
        name,
        attributes=None if correlation is None else {"correlation_id": correlation},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
            raise
