# wrong: own threads that catch Exception only: SystemExit ends the worker and the Future never resolves
# fails: next-task-sees-neither-span-nor-id, request-span-ends-last, results-in-item-order-or-the-first-error, raising-task-has-error-status
# says: every call to end
# %% solution="traced-worker-pool"
import queue
import threading
from concurrent.futures import Future, wait
from contextvars import copy_context

from opentelemetry.trace import StatusCode

from shared.observability.contracts import correlation_id, process_item


def id_attributes():
    value = correlation_id.get()
    return {} if value is None else {"correlation_id": value}


class TracedWorkerPool:
    def __init__(self, workers, queue_size, tracer):
        self.tracer = tracer
        self.tasks = queue.Queue()
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(workers)]
        for thread in self.threads:
            thread.start()

    def submit(self, fn, *args):
        future = Future()
        self.tasks.put((copy_context(), future, fn, args))
        return future

    def work(self):
        while (task := self.tasks.get()) is not None:
            mine, *rest = task
            mine.run(self.run, *rest)

    def run(self, future, fn, args):
        try:
            with self.tracer.start_as_current_span(fn.__name__, attributes=id_attributes()) as span:
                try:
                    value = fn(*args)
                except BaseException as error:
                    span.set_status(StatusCode.ERROR, repr(error))
                    raise
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(value)

    def shutdown(self, wait=True):
        for _ in self.threads:
            self.tasks.put(None)
        if wait:
            for thread in self.threads:
                thread.join()


def process_request(tracer, pool, items):
    with tracer.start_as_current_span("process_request", attributes=id_attributes()):
        futures = [pool.submit(process_item, item) for item in items]
        wait(futures)
        return [future.result() for future in futures]
