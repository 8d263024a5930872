# wrong: a thread for each task, however many workers there are to be
# fails: span-is-current-while-the-task-runs
# says: 2 run when task_1 begins
# %% solution="traced-worker-pool"
import threading
from concurrent.futures import Future

from opentelemetry import context, trace
from opentelemetry.trace import StatusCode

from shared.observability.contracts import correlation_id, process_item


class TracedWorkerPool:
    def __init__(self, workers, queue_size, tracer):
        self._tracer = tracer
        self._threads = []

    def submit(self, fn, *args):
        future, carried = Future(), (context.get_current(), correlation_id.get(), fn, args)

        def run():
            try:
                future.set_result(self._work(*carried))
            except BaseException as error:
                future.set_exception(error)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()
        return future

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
        for thread in self._threads:
            thread.join()


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
