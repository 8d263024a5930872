# right: the thread that ends hands its permit to the newest waiter, under one lock for all tenants that nothing is run under
# %% solution="bulkhead"
import queue
import threading
import time


class Ticket:
    def __init__(self, fn):
        self.fn = fn
        self.finished = threading.Event()
        self.outcome = None


class Bulkhead:
    def __init__(self, limits, clock=time.monotonic):
        self.limits = dict(limits)
        self.lock = threading.Lock()
        self.running = dict.fromkeys(limits, 0)
        self.waiting = {tenant: [] for tenant in limits}

    def submit(self, tenant, fn, timeout):
        limit = self.limits[tenant]
        ticket = Ticket(fn)
        with self.lock:
            if self.running[tenant] < limit.max_concurrent:
                self.running[tenant] += 1
                threading.Thread(target=self.run, args=(tenant, ticket), daemon=True).start()
            elif len(self.waiting[tenant]) < limit.max_waiting:
                self.waiting[tenant].append(ticket)
            else:
                raise queue.Full(f"{tenant} is full")
        if not ticket.finished.wait(timeout):
            with self.lock:
                if ticket in self.waiting[tenant]:
                    self.waiting[tenant].remove(ticket)
            raise TimeoutError(tenant)
        value, error = ticket.outcome
        if error is not None:
            raise error
        return value

    def run(self, tenant, ticket):
        while ticket is not None:
            try:
                ticket.outcome = (ticket.fn(), None)
            except BaseException as error:
                ticket.outcome = (None, error)
            ended = ticket
            with self.lock:
                if self.waiting[tenant]:
                    ticket = self.waiting[tenant].pop()
                else:
                    self.running[tenant] -= 1
                    ticket = None
            ended.finished.set()
