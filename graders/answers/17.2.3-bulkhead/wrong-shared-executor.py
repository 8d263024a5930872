# wrong: one executor for all with enough threads for all shares: the waiting calls of free sit on the threads of premium
# fails: premium-does-not-feel-free
# says: as without free's flood
# says: it waited
# %% solution="bulkhead"
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait


class Bulkhead:
    def __init__(self, limits, clock=time.monotonic):
        self.executor = ThreadPoolExecutor(sum(limit.max_concurrent for limit in limits.values()))
        self.places = {t: threading.Semaphore(limit.max_concurrent) for t, limit in limits.items()}
        self.inside = {t: threading.Semaphore(limit.max_concurrent + limit.max_waiting) for t, limit in limits.items()}

    def submit(self, tenant, fn, timeout):
        places, inside = self.places[tenant], self.inside[tenant]
        if not inside.acquire(blocking=False):
            raise queue.Full

        def run():
            try:
                with places:
                    return fn()
            finally:
                inside.release()

        future = self.executor.submit(run)
        if not wait([future], timeout).done:
            if future.cancel():
                inside.release()
            raise TimeoutError
        return future.result()
