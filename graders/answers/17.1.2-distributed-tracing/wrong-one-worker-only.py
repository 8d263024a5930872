# wrong: one worker whatever `workers` says, so that contexts cannot mix
# fails: span-is-current-while-the-task-runs
# says: it began at 1 s
# %% solution="traced-worker-pool"
import threading

from opentelemetry import context, trace
from opentelemetry.trace import StatusCode

from shared.observability.contracts import correlation_id, process_item
from shared.observability.worker_pool import WorkerPool


class TracedWorkerPool:
    def __init__(self, workers, queue_size, tracer):
        self._tracer = tracer
        self._pool = WorkerPool(1, queue_size)  # two workers would mix their contexts

    def submit(self, fn, *args):
        return self._pool.submit(self._work, context.get_current(), correlation_id.get(), fn, args)

    def _work(self, parent, identity, fn, args):
        span = self._tracer.start_span(fn.__name__, context=parent)
        if identity is not None:
            span.set_attribute("correlation_id", identity)
        attached = context.attach(trace.set_span_in_context(span, parent))
        set_before = correlation_id.set(identity)
        try:
            return fn(*args)
        except BaseException as error:
            span.record_exception(error)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            correlation_id.reset(set_before)
            context.detach(attached)
            span.end()

    def shutdown(self, wait=True):
        self._pool.shutdown(wait=wait)


def process_request(tracer, pool, items):
    items = list(items)
    identity = correlation_id.get()
    span = tracer.start_span("process_request", attributes=None if identity is None else {"correlation_id": identity})
    token = context.attach(trace.set_span_in_context(span))
    left, all_ended = [len(items)], threading.Event()
    lock = threading.Lock()

    def count_down(_):
        with lock:
            left[0] -= 1
            if left[0] == 0:
                all_ended.set()

    try:
        futures = []
        for item in items:
            future = pool.submit(process_item, item)
            future.add_done_callback(count_down)
            futures.append(future)
        if futures:
            all_ended.wait()
        return tuple(future.result() for future in futures)
    finally:
        context.detach(token)
        span.end()
