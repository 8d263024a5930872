# right: an actor; one thread owns the state, callers send it messages and wait for its reply
# %% solution="circuit-breaker"
import queue
import threading
import time
from collections import deque


class CircuitBreaker:
    def __init__(self, config, clock=time.monotonic):
        self.config = config
        self.clock = clock
        self.inbox = queue.Queue()
        threading.Thread(target=self._run, name="breaker", daemon=True).start()

    @property
    def state(self):
        return self._ask("state")

    def call(self, fn, *args, **kwargs):
        answer = self._ask("enter")
        if isinstance(answer, CircuitOpen):
            raise answer
        start = self.clock()
        try:
            value = fn(*args, **kwargs)
        except self.config.ignored:
            self._ask("back", answer)
            raise
        except Exception:
            self._ask("result", answer, True, self.clock() - start)
            raise
        except BaseException:
            self._ask("back", answer)
            raise
        self._ask("result", answer, False, self.clock() - start)
        return value

    def _ask(self, *message):
        reply = queue.Queue()
        self.inbox.put((message, reply))
        return reply.get()

    def _run(self):
        config = self.config
        state, period, until = State.CLOSED, 0, 0.0
        window = deque(maxlen=config.window_size)
        used = good = 0
        while True:
            (kind, *rest), reply = self.inbox.get()
            answer = None
            if state is State.OPEN and self.clock() >= until:
                state, period, used, good = State.HALF_OPEN, period + 1, 0, 0
            if kind == "state":
                answer = state
            elif kind == "enter":
                answer = period
                if state is State.OPEN:
                    answer = CircuitOpen(until - self.clock())
                elif state is State.HALF_OPEN:
                    if used == config.permitted_calls_in_half_open:
                        answer = CircuitOpen(0.0)
                    else:
                        used += 1
            elif rest[0] != period:
                pass
            elif kind == "back":
                used -= 1
            else:
                failed, slow = rest[1], rest[2] > config.slow_call_threshold
                opens = failed or slow
                if state is State.CLOSED:
                    window.append((failed, slow))
                    n = len(window)
                    failures, slows = sum(f for f, _ in window), sum(s for _, s in window)
                    enough = n >= min(config.min_calls_to_open, config.window_size)
                    opens = enough and (failures / n >= config.error_rate or slows / n >= config.slow_call_rate)
                elif not opens:
                    good += 1
                    if good == config.permitted_calls_in_half_open:
                        state, period = State.CLOSED, period + 1
                        window.clear()
                if opens:
                    state, period, until = State.OPEN, period + 1, self.clock() + config.wait_duration
            reply.put(answer)
