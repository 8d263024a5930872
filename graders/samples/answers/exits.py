# Ends its process in the middle of a call.
# ruff: noqa: F821

# %% solution="circuit-breaker"
import os


class CircuitBreaker:
    state = State.CLOSED

    def __init__(self, config: BreakerConfig, clock=time.monotonic):
        self.config = config

    def call(self, fn, *args, **kwargs):
        os._exit(0)
