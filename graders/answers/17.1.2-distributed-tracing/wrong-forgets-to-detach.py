# wrong: attaches the submitter's context in the worker, and leaves it there
# fails: task-span-is-child-of-its-submitter, next-task-sees-neither-span-nor-id
# says: (task_2) to be a root: no span was current
# says: it is a child of span 1 (caller_1)
# %% solution="traced-worker-pool"
from concurrent.futures import wait

from opentelemetry import context, trace
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
        return self.pool.submit(self.enter, context.get_current(), correlation_id.get(), fn, args)

    def enter(self, parent, identity, fn, args):
        if trace.get_current_span(parent).get_span_context().is_valid:
            context.attach(parent)
        token = correlation_id.set(identity)
        try:
            return self.run(fn, args)
        finally:
            correlation_id.reset(token)

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
        futures = [pool.submit(process_item, item) for item in items]
        wait(futures)
        return [future.result() for future in futures]
