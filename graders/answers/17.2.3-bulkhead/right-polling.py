# right: waiters look every 30 ms whether a place is free; the outcome is looked for in the same way
# %% solution="bulkhead"
import queue
import threading
import time


class Bulkhead:
    def __init__(self, limits, clock=time.monotonic):
        self.limits = limits
        self.clock = clock
        self.guards = {tenant: threading.RLock() for tenant in limits}
        self.counts = {tenant: {"running": 0, "waiting": 0} for tenant in limits}

    def _took_place(self, tenant):
        with self.guards[tenant]:
            if self.counts[tenant]["running"] >= self.limits[tenant].max_concurrent:
                return False
            self.counts[tenant]["running"] += 1
            return True

    def submit(self, tenant, fn, timeout):
        give_up_at = self.clock() + timeout
        count = self.counts[tenant]
        with self.guards[tenant]:
            waits = not self._took_place(tenant)
            if waits:
                if count["waiting"] >= self.limits[tenant].max_waiting:
                    raise queue.Full
                count["waiting"] += 1
        if waits:
            self._wait(tenant, give_up_at)
        box = []
        threading.Thread(target=self._run, args=(tenant, fn, box), daemon=True).start()
        while not box:
            if self.clock() >= give_up_at:
                raise TimeoutError
            time.sleep(0.03)
        kind, it = box[0]
        if kind == "error":
            raise it
        return it

    def _wait(self, tenant, give_up_at):
        try:
            while not self._took_place(tenant):
                if self.clock() >= give_up_at:
                    raise TimeoutError
                time.sleep(0.03)
        finally:
            with self.guards[tenant]:
                self.counts[tenant]["waiting"] -= 1

    def _run(self, tenant, fn, box):
        try:
            outcome = ("value", fn())
        except BaseException as error:
            outcome = ("error", error)
        with self.guards[tenant]:
            self.counts[tenant]["running"] -= 1
        box.append(outcome)
