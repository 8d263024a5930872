# wrong: makes the task's span current in the submitter: the next task becomes its child
# fails: task-span-is-child-of-its-submitter, requests-do-not-mix, next-task-sees-neither-span-nor-id
# says: current at submit
# %% solution="traced-worker-pool"
from concurrent.futures import wait
from contextvars import copy_context

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
        span = self.tracer.start_span(fn.__name__, attributes=id_attributes())
        context.attach(trace.set_span_in_context(span))
        return self.pool.submit(copy_context().run, self.run, span, fn, args)

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
