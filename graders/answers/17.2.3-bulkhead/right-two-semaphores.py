# right: two semaphores per tenant (all who are in, those who run), a thread per call
# %% solution="bulkhead"
import queue
import threading
import time
from concurrent.futures import Future, wait


class Bulkhead:
    def __init__(self, limits, clock=time.monotonic):
        self.clock = clock
        self.inside = {t: threading.Semaphore(l.max_concurrent + l.max_waiting) for t, l in limits.items()}
        self.places = {t: threading.Semaphore(l.max_concurrent) for t, l in limits.items()}

    def submit(self, tenant, fn, timeout):
        deadline = self.clock() + timeout
        inside, places = self.inside[tenant], self.places[tenant]
        if not inside.acquire(blocking=False):
            raise queue.Full(tenant)
        if not places.acquire(timeout=timeout):
            inside.release()
            raise TimeoutError("no place in time")
        future = Future()
        threading.Thread(target=self.run, args=(tenant, fn, future), daemon=True).start()
        if not wait([future], deadline - self.clock()).done:
            raise TimeoutError("too slow")
        return future.result()

    def run(self, tenant, fn, future):
        try:
            settle, outcome = future.set_result, fn()
        except BaseException as error:
            settle, outcome = future.set_exception, error
        self.places[tenant].release()
        self.inside[tenant].release()
        settle(outcome)
