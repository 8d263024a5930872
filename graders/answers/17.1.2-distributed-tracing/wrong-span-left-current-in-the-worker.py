# wrong: makes the task's span current and ends it, but it stays current in the worker
# fails: task-span-is-child-of-its-submitter, next-task-sees-neither-span-nor-id
# says: to be a root: no span was current
# says: it is a child of
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
        parent = context.get_current() if trace.get_current_span().is_recording() else None
        return self.pool.submit(self.run, parent, correlation_id.get(), fn, args)

    def run(self, parent, identity, fn, args):
        token = correlation_id.set(identity)
        span = self.tracer.start_span(fn.__name__, parent, attributes=id_attributes())
        context.attach(trace.set_span_in_context(span, parent))
        try:
            return fn(*args)
        except BaseException as error:
            span.set_status(StatusCode.ERROR, repr(error))
            raise
        finally:
            span.end()
            correlation_id.reset(token)

    def shutdown(self, wait=True):
        self.pool.shutdown(wait)


def process_request(tracer, pool, items):
    with tracer.start_as_current_span("process_request", attributes=id_attributes()):
        futures = [pool.submit(process_item, item) for item in items]
        wait(futures)
        return [future.result() for future in futures]
