# wrong: the seed's listing: a pool per tenant, and nothing bounds what waits before it
# fails: places-then-waiting-room-then-full, limits-hold-for-callers-at-once, timed-out-waiter-leaves-its-place, timed-out-call-keeps-its-permit, permits-come-back-after-errors
# says: it was let in: it began
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

    def enter_anyhow(self):
        with self.lock:
            self.inside += 1

    def leave(self, *_):
        with self.lock:
            self.inside -= 1


class Bulkhead:
    def __init__(self, limits, clock=time.monotonic):
        self.compartments = {tenant: Compartment(limit) for tenant, limit in limits.items()}

    def submit(self, tenant, fn, timeout):
        compartment = self.compartments[tenant]
        compartment.enter_anyhow()

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
            if future.cancel():
                compartment.leave()
            raise TimeoutError from None
