# wrong: the timeout begins with the function; a waiter waits as long as it takes
# fails: timeout-covers-waiting-and-running, limits-hold-for-callers-at-once
# says: it returned None
# %% solution="bulkhead"
import queue
import threading
import time


class Compartment:
    def __init__(self, limit):
        self.limit = limit
        self.changed = threading.Condition()
        self.running = 0
        self.waiting = 0

    def enter(self, timeout):
        with self.changed:
            if self.running < self.limit.max_concurrent:
                self.running += 1
                return
            if self.waiting >= self.limit.max_waiting:
                raise queue.Full
            self.waiting += 1
            try:
                if not self.changed.wait_for(lambda: self.running < self.limit.max_concurrent):
                    raise TimeoutError
                self.running += 1
            finally:
                self.waiting -= 1

    def leave(self):
        with self.changed:
            self.running -= 1
            self.changed.notify()


class Call:
    def __init__(self, fn, compartment):
        self.fn = fn
        self.compartment = compartment
        self.done = threading.Event()
        self.value = None
        self.error = None

    def run(self):
        try:
            self.value = self.fn()
        except Exception as error:
            self.error = error
        self.compartment.leave()
        self.done.set()


class Bulkhead:
    def __init__(self, limits, clock=time.monotonic):
        self.clock = clock
        self.compartments = {tenant: Compartment(limit) for tenant, limit in limits.items()}

    def submit(self, tenant, fn, timeout):
        compartment = self.compartments[tenant]
        compartment.enter(timeout)
        call = Call(fn, compartment)
        threading.Thread(target=call.run, daemon=True).start()
        if not call.done.wait(timeout):
            raise TimeoutError
        if call.error is not None:
            raise call.error
        return call.value
