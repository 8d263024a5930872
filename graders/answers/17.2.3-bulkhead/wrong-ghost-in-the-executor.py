# wrong: does not take a timed-out waiter out of the executor's queue: its function runs for nobody
# fails: timed-out-waiter-leaves-its-place
# says: 0 of 1 wait
# says: it was refused: queue.Full
# %% solution="bulkhead"
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet


class Compartment:
    def __init__(self, limit):
        self.executor = ThreadPoolExecutor(limit.max_concurrent)
        self.size = limit.max_concurrent + limit.max_waiting
        self.inside = 0
        self.lock = threading.Lock()

    def enter(self):
        with self.lock:
            if self.inside >= self.size:
                raise queue.Full
            self.inside += 1

    def leave(self, *_):
        with self.lock:
            self.inside -= 1


class Bulkhead:
    def __init__(self, limits, clock=time.monotonic):
        self.compartments = {tenant: Compartment(limit) for tenant, limit in limits.items()}

    def submit(self, tenant, fn, timeout):
        compartment = self.compartments[tenant]
        compartment.enter()

        def run():
            try:
                return fn()
            finally:
                compartment.leave()

        future = compartment.executor.submit(run)
        try:
            return future.result(timeout)
        except NotYet:
            if future.done():
                raise
            raise TimeoutError from None
