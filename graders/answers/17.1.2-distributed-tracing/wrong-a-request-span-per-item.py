# wrong: opens process_request around each item
# fails: request-has-one-span, requests-do-not-mix, request-span-ends-last, correlation-id-is-on-every-span
# says: 1 span named process_request for 1 request
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
        return self.pool.submit(copy_context().run, self.run, fn, args)

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
    futures, spans = [], []
    for item in items:
        spans.append(tracer.start_span("process_request", attributes=id_attributes()))
        with trace.use_span(spans[-1]):
            futures.append(pool.submit(process_item, item))
    wait(futures)
    for span in spans:
        span.end()
    return [future.result() for future in futures]
