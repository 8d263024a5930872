# right: threads and a queue of its own; each job remembers its parent, and an error is a value until its span has ended
# %% solution="traced-worker-pool"
import queue
import threading
from concurrent.futures import Future

from opentelemetry import context
from opentelemetry.trace import StatusCode

from shared.observability.contracts import Saturated, correlation_id, process_item


class Job:
    def __init__(self, fn, args):
        self.fn, self.args = fn, args
        self.parent = context.get_current()
        self.identity = correlation_id.get()
        self.future = Future()

    def run(self, tracer):
        if not self.future.set_running_or_notify_cancel():
            return
        error = value = None
        identity = correlation_id.set(self.identity)
        with tracer.start_as_current_span(self.fn.__name__, context=self.parent) as span:
            if self.identity is not None:
                span.set_attribute("correlation_id", self.identity)
            try:
                value = self.fn(*self.args)
            except BaseException as raised:
                error = raised
                span.set_status(StatusCode.ERROR, type(raised).__name__)
        correlation_id.reset(identity)
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)


class TracedWorkerPool:
    def __init__(self, workers, queue_size, tracer):
        self.tracer = tracer
        self.jobs = queue.Queue()
        self.room = threading.Semaphore(workers + queue_size)
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(workers)]
        for thread in self.threads:
            thread.start()

    def submit(self, fn, *args):
        if not self.room.acquire(blocking=False):
            raise Saturated("full")
        job = Job(fn, args)
        self.jobs.put(job)
        return job.future

    def work(self):
        while (job := self.jobs.get()) is not None:
            job.run(self.tracer)
            self.room.release()

    def shutdown(self, wait=True):
        for _ in self.threads:
            self.jobs.put(None)
        if wait:
            for thread in self.threads:
                thread.join()


def process_request(tracer, pool, items):
    identity = correlation_id.get()
    with tracer.start_as_current_span("process_request") as span:
        if identity is not None:
            span.set_attribute("correlation_id", identity)
        outcomes = []
        for future in [pool.submit(process_item, item) for item in items]:
            try:
                outcomes.append((future.result(), None))
            except BaseException as error:
                outcomes.append((None, error))
        for _, error in outcomes:
            if error is not None:
                raise error
        return [value for value, _ in outcomes]
