# right: hooks into WorkerPool's runner; the task carries its context, and the Future is resolved outside of the span
# %% solution="traced-worker-pool"
from contextvars import copy_context

from opentelemetry import trace
from opentelemetry.trace import StatusCode

from shared.observability.contracts import correlation_id, process_item
from shared.observability.worker_pool import WorkerPool, run_task


class Carried:
    """A function, its span's tracer, and the context of its submitter."""

    def __init__(self, tracer, fn):
        self.tracer, self.fn, self.context = tracer, fn, copy_context()

    def __call__(self, *args):
        return self.context.run(self.inside, *args)

    def inside(self, *args):
        with begin(self.tracer, self.fn.__name__) as span:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                return self.fn(*args)


def begin(tracer, name):
    """A span, as a context manager of its own: it records whatever is raised in it, BaseException too."""
    identity = correlation_id.get()
    return tracer.start_span(name, attributes={} if identity is None else {"correlation_id": identity})


class TracedWorkerPool:
    def __init__(self, workers, queue_size, tracer):
        self.inner = WorkerPool(workers, queue_size, new_runner=lambda: self.runner)
        self.tracer = tracer

    def runner(self, future, fn, args):
        run_task(future, fn, args)

    def submit(self, fn, *args):
        return self.inner.submit(Carried(self.tracer, fn), *args)

    def shutdown(self, wait=True):
        self.inner.shutdown(wait)


def process_request(tracer, pool, items):
    with begin(tracer, "process_request") as span:
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            futures = [pool.submit(process_item, item) for item in items]
        errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None:
                span.set_status(StatusCode.ERROR, f"{len(errors) - errors.count(None)} items failed")
                raise error
        return [future.result() for future in futures]
