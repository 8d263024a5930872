# right: the window is two integers used as bit masks, counted with bit_count; closures instead of private methods
# %% solution="circuit-breaker"
import threading
import time


class CircuitBreaker:
    state = State.CLOSED

    def __init__(self, config, clock=time.monotonic):
        lock = threading.Lock()
        mask = (1 << config.window_size) - 1
        enough = min(config.min_calls_to_open, config.window_size)
        period = calls = failed_bits = slow_bits = running = good = 0
        opened = 0.0

        def change(state):
            nonlocal period, calls, failed_bits, slow_bits, running, good, opened
            self.state = state
            period += 1
            calls = failed_bits = slow_bits = running = good = 0
            opened = clock()

        def enter():
            nonlocal running
            with lock:
                if self.state is State.OPEN:
                    left = opened + config.wait_duration - clock()
                    if left > 0:
                        raise CircuitOpen(left)
                    change(State.HALF_OPEN)
                if self.state is State.HALF_OPEN and running + good >= config.permitted_calls_in_half_open:
                    raise CircuitOpen(0.0)
                running += 1
                return period

        def leave(admitted_in, failed, slow):
            nonlocal calls, failed_bits, slow_bits, running, good
            with lock:
                if admitted_in != period:
                    return
                running -= 1
                if failed is None:
                    return
                if self.state is State.HALF_OPEN:
                    good += 1
                    if failed or slow:
                        change(State.OPEN)
                    elif good == config.permitted_calls_in_half_open:
                        change(State.CLOSED)
                    return
                calls = min(calls + 1, config.window_size)
                failed_bits = (failed_bits << 1 | failed) & mask
                slow_bits = (slow_bits << 1 | slow) & mask
                if calls >= enough and (
                    failed_bits.bit_count() >= config.error_rate * calls
                    or slow_bits.bit_count() >= config.slow_call_rate * calls
                ):
                    change(State.OPEN)

        def call(fn, *args, **kwargs):
            ticket = enter()
            start = clock()
            failed = None
            try:
                value = fn(*args, **kwargs)
                failed = False
                return value
            except Exception as error:
                failed = None if isinstance(error, config.ignored) else True
                raise
            finally:
                leave(ticket, failed, clock() - start > config.slow_call_threshold)

        self.call = call
