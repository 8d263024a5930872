# wrong: tests for a place without the lock and takes it under the lock: callers at once take the same place
# fails: limits-hold-for-callers-at-once
# says: 2 ran
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
        if self.running < self.limit.max_concurrent:
            with self.changed:
                self.running += 1
            return
        with self.changed:
            if self.waiting >= self.limit.max_waiting:
                raise queue.Full
            self.waiting += 1
            try:
                if not self.changed.wait_for(lambda: self.running < self.limit.max_concurrent, timeout):
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
        deadline = self.clock() + timeout
        compartment = self.compartments[tenant]
        compartment.enter(timeout)
        call = Call(fn, compartment)
        threading.Thread(target=call.run, daemon=True).start()
        if not call.done.wait(deadline - self.clock()):
            raise TimeoutError
        if call.error is not None:
            raise call.error
        return call.value
