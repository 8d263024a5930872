# wrong: one copy for all items of a request: a Context can be entered by one thread at a time
# fails: requests-do-not-mix, next-task-sees-neither-span-nor-id, request-has-one-span, request-span-ends-last, results-in-item-order-or-the-first-error, correlation-id-is-on-every-span
# says: a2 to run once
# says: it never ran; process_request a raised RuntimeError: cannot enter context
# %% solution="traced-worker-pool"
from concurrent.futures import wait
from contextvars import copy_context

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
        return self.submit_in(copy_context(), fn, *args)

    def submit_in(self, mine, fn, *args):
        return self.pool.submit(mine.run, self.run, fn, args)

    def run(self, fn, args):
        with self.tracer.start_as_current_span(fn.__name__, attributes=id_attributes()) as span:
            try:
                return fn(*args)
            except BaseException as error:
                span.set_status(StatusCode.ERROR, repr(error))
                raise

    def shutdown(self, wait=True):
        self.pool.shutdown(wait)


def process_request(tracer, pool, items):
    with tracer.start_as_current_span("process_request", attributes=id_attributes()):
        mine = copy_context()
        futures = [pool.submit_in(mine, process_item, item) for item in items]
        wait(futures)
        return [future.result() for future in futures]
