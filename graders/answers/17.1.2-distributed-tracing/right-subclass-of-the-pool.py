# right: overrides submit of WorkerPool; the task is a closure that runs in a copy of the context
# %% solution="traced-worker-pool"
from concurrent.futures import wait
from contextvars import copy_context

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from shared.observability.contracts import correlation_id, process_item
from shared.observability.worker_pool import WorkerPool


class TracedWorkerPool(WorkerPool):
    def __init__(self, workers, queue_size, tracer):
        super().__init__(workers, queue_size)
        self.tracer = tracer

    def submit(self, fn, *args):
        mine = copy_context()

        def task():
            with start(self.tracer, fn.__name__) as span, trace.use_span(span):
                return fn(*args)

        return super().submit(mine.run, task)


def start(tracer, name):
    span = tracer.start_span(name)
    identity = correlation_id.get()
    if identity is not None:
        span.set_attribute("correlation_id", identity)
    return span


def process_request(tracer, pool, items):
    with start(tracer, "process_request") as span, trace.use_span(span):
        futures = [pool.submit(process_item, item) for item in items]
        wait(futures)
        failed = [future.exception() for future in futures if future.exception() is not None]
        if failed:
            span.set_status(Status(StatusCode.ERROR))
            raise failed[0]
        return [future.result() for future in futures]
