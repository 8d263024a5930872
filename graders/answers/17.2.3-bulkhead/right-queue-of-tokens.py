# right: permits are tokens in a queue, the last waiter in is not the first out; a subclass of queue.Full says whose
# %% solution="bulkhead"
import queue
import threading
import time


class NoRoom(queue.Full):
    pass


class Bulkhead:
    def __init__(self, limits, clock=time.monotonic):
        self.clock = clock
        self.tokens = {}
        self.seats = {}
        for tenant, limit in limits.items():
            self.tokens[tenant] = queue.LifoQueue()
            for number in range(limit.max_concurrent):
                self.tokens[tenant].put(number)
            self.seats[tenant] = queue.Queue()
            for number in range(limit.max_waiting):
                self.seats[tenant].put(number)

    def submit(self, tenant, fn, timeout):
        if tenant not in self.tokens:
            raise KeyError(tenant)
        start = self.clock()
        token = self.take_token(tenant, timeout)
        answer = queue.Queue()

        def body():
            try:
                result = (True, fn())
            except BaseException as error:
                result = (False, error)
            self.tokens[tenant].put(token)
            answer.put(result)

        threading.Thread(target=body, daemon=True).start()
        try:
            fine, result = answer.get(timeout=max(0.0, timeout - (self.clock() - start)))
        except queue.Empty:
            raise TimeoutError from None
        if fine:
            return result
        raise result

    def take_token(self, tenant, timeout):
        try:
            return self.tokens[tenant].get_nowait()
        except queue.Empty:
            pass
        try:
            seat = self.seats[tenant].get_nowait()
        except queue.Empty:
            raise NoRoom(tenant) from None
        try:
            return self.tokens[tenant].get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        finally:
            self.seats[tenant].put(seat)
