# right: max_concurrent worker threads per tenant take tasks from a deque; a timed-out waiter takes its own out again
# %% solution="bulkhead"
import queue
import threading
import time
from collections import deque


class Task:
    def __init__(self, fn):
        self.fn = fn
        self.value = None
        self.error = None
        self.done = False


class Pool:
    def __init__(self, limit):
        self.limit = limit
        self.tasks = deque()
        self.busy = 0
        self.changed = threading.Condition()
        for _ in range(limit.max_concurrent):
            threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while True:
            with self.changed:
                while not self.tasks:
                    self.changed.wait()
                task = self.tasks.popleft()
            try:
                task.value = task.fn()
            except BaseException as error:
                task.error = error
            with self.changed:
                self.busy -= 1
                task.done = True
                self.changed.notify_all()

    def submit(self, fn, timeout):
        task = Task(fn)
        with self.changed:
            # busy counts every call that was let in: with a worker, or on its way to one
            if self.busy >= self.limit.max_concurrent + self.limit.max_waiting:
                raise queue.Full("no room")
            self.busy += 1
            self.tasks.append(task)
            self.changed.notify_all()
            if not self.changed.wait_for(lambda: task.done, timeout):
                if task in self.tasks:
                    self.tasks.remove(task)
                    self.busy -= 1
                raise TimeoutError(f"not done after {timeout} s")
        if task.error is not None:
            raise task.error
        return task.value


class Bulkhead:
    def __init__(self, limits, clock=time.monotonic):
        self.pools = {}
        for tenant, limit in limits.items():
            self.pools[tenant] = Pool(limit)

    def submit(self, tenant, fn, timeout):
        return self.pools[tenant].submit(fn, timeout)
