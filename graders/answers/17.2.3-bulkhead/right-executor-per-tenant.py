# right: a ThreadPoolExecutor per tenant, admitted calls counted under a lock, waiters cancelled when they time out
# %% solution="bulkhead"
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait


class Compartment:
    def __init__(self, limit):
        self.executor = ThreadPoolExecutor(limit.max_concurrent)
        self.size = limit.max_concurrent + limit.max_waiting
        self.admitted = 0
        self.lock = threading.Lock()

    def leave(self):
        with self.lock:
            self.admitted -= 1


class Bulkhead:
    def __init__(self, limits, clock=time.monotonic):
        self.compartments = {tenant: Compartment(limit) for tenant, limit in limits.items()}

    def submit(self, tenant, fn, timeout):
        compartment = self.compartments[tenant]
        with compartment.lock:
            if compartment.admitted == compartment.size:
                raise queue.Full
            compartment.admitted += 1

        def run():
            try:
                return fn()
            finally:
                compartment.leave()

        future = compartment.executor.submit(run)
        if not wait([future], timeout).done:
            if future.cancel():
                compartment.leave()
            raise TimeoutError
        return future.result()
