# right: the task's span begins at submit, so that it shows the time in the queue, and ends in the worker
# %% solution="traced-worker-pool"
from concurrent.futures import wait
from contextvars import copy_context

from opentelemetry import trace
from opentelemetry.trace import StatusCode

from shared.observability.contracts import correlation_id, process_item
from shared.observability.worker_pool import WorkerPool


def id_attributes():
    value = correlation_id.get()
    return {} if value is None else {"correlation_id": value}


class TracedWorkerPool:
    def __init__(self, workers, queue_size, tracer):
        self.tracer = tracer
        self.pool = WorkerPool(workers, queue_size)

    def submit(self, fn, *args):
        span = self.tracer.start_span(fn.__name__, attributes=id_attributes())
        try:
            return self.pool.submit(copy_context().run, self.run, span, fn, args)
        except BaseException:
            span.end()
            raise

    def run(self, span, fn, args):
        with trace.use_span(span, end_on_exit=True):
            try:
                return fn(*args)
            except BaseException as error:
                span.set_status(StatusCode.ERROR, repr(error))
                raise

    def shutdown(self, wait=True):
        self.pool.shutdown(wait)


def process_request(tracer, pool, items):
    with tracer.start_as_current_span("process_request", attributes=id_attributes()):
        futures = [pool.submit(process_item, item) for item in items]
        wait(futures)
        return [future.result() for future in futures]
