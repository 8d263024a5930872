# Counts failures well, and has never heard of slow calls, of permits, or of threads.
# ruff: noqa: F821

# %% solution="circuit-breaker"
class CircuitBreaker:
    def __init__(self, config: BreakerConfig, clock=time.monotonic):
        self.config = config
        self.clock = clock
        self.results = deque(maxlen=config.window_size)
        self.opened_at = None

    @property
    def state(self) -> State:
        if self.opened_at is None:
            return State.CLOSED
        return State.OPEN if self.left() > 0 else State.HALF_OPEN

    def left(self):
        return self.opened_at + self.config.wait_duration - self.clock()

    def call(self, fn, *args, **kwargs):
        if self.state is State.OPEN:
            raise CircuitOpen(self.left())
        probing = self.state is State.HALF_OPEN
        try:
            value = fn(*args, **kwargs)
        except self.config.ignored:
            raise
        except Exception:
            self.note(True)
            if probing:
                self.opened_at = self.clock()
            raise
        self.note(False)
        if probing:
            self.opened_at = None
            self.results.clear()
        return value

    def note(self, failed):
        self.results.append(failed)
        calls = len(self.results)
        enough = calls >= min(self.config.min_calls_to_open, self.config.window_size)
        if enough and self.opened_at is None and sum(self.results) / calls >= self.config.error_rate:
            self.opened_at = self.clock()
