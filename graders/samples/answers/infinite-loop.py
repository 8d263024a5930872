# Waits, busily, for something that never happens.
# ruff: noqa: F821

# %% solution="circuit-breaker"
class CircuitBreaker:
    state = State.CLOSED

    def __init__(self, config: BreakerConfig, clock=time.monotonic):
        self.config = config

    def call(self, fn, *args, **kwargs):
        while self.state is not State.OPEN:
            pass
        return fn(*args, **kwargs)
