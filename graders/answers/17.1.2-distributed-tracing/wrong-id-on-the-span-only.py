# wrong: carries OpenTelemetry's context alone: the span has the id, the task's log lines do not
# fails: correlation-id-is-on-every-span
# says: correlation_id.get() in a1 to be 'order-17'
# says: it is None
# %% solution="traced-worker-pool"
from concurrent.futures import wait

from opentelemetry import context
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
        return self.pool.submit(self.run, context.get_current(), id_attributes(), fn, args)

    def run(self, parent, attributes, fn, args):
        with self.tracer.start_as_current_span(fn.__name__, parent, attributes=attributes) as span:
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
