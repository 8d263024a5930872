# right: a ThreadPoolExecutor behind a semaphore; each task runs in a copy of the context; items are waited for as they complete
# %% solution="traced-worker-pool"
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from contextvars import copy_context

from opentelemetry.trace import Status, StatusCode

from shared.observability.contracts import Saturated, correlation_id, process_item


@contextmanager
def spanning(tracer, name):
    with tracer.start_as_current_span(name) as span:
        if (identity := correlation_id.get()) is not None:
            span.set_attribute("correlation_id", identity)
        try:
            yield
        except Exception:
            raise
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


class TracedWorkerPool:
    def __init__(self, workers, queue_size, tracer):
        self.tracer = tracer
        self.permits = threading.BoundedSemaphore(workers + queue_size)
        self.executor = ThreadPoolExecutor(workers)

    def submit(self, fn, *args):
        if not self.permits.acquire(blocking=False):
            raise Saturated("no room")
        future = self.executor.submit(copy_context().run, self.traced, fn, args)
        future.add_done_callback(lambda _: self.permits.release())
        return future

    def traced(self, fn, args):
        with spanning(self.tracer, fn.__name__):
            return fn(*args)

    def shutdown(self, wait=True):
        self.executor.shutdown(wait=wait)


def process_request(tracer, pool, items):
    with spanning(tracer, "process_request"):
        futures = {pool.submit(process_item, item): number for number, item in enumerate(items)}
        results, errors = [None] * len(futures), {}
        for future in as_completed(futures):
            if (error := future.exception()) is not None:
                errors[futures[future]] = error
            else:
                results[futures[future]] = future.result()
        if errors:
            raise errors[min(errors)]
        return results
