# The result of a call carries the number of the period that admitted it.
# ruff: noqa: F821

# %% solution="circuit-breaker"
class CircuitBreaker:
    def __init__(self, config: BreakerConfig, clock=time.monotonic):
        self.config = config
        self.clock = clock
        self.lock = threading.Lock()
        self.period = 0
        self.until = 0.0
        self.change(State.CLOSED)

    @property
    def state(self) -> State:
        return self.current

    def change(self, state):
        self.current = state
        self.period += 1
        self.results = deque(maxlen=self.config.window_size)
        self.permits = self.config.permitted_calls_in_half_open
        self.missing = self.config.permitted_calls_in_half_open

    def open(self):
        self.until = self.clock() + self.config.wait_duration
        self.change(State.OPEN)

    def call(self, fn, *args, **kwargs):
        with self.lock:
            now = self.clock()
            if self.current is State.OPEN and now >= self.until:
                self.change(State.HALF_OPEN)
            if self.current is State.OPEN:
                raise CircuitOpen(self.until - now)
            if self.current is State.HALF_OPEN:
                if not self.permits:
                    raise CircuitOpen(self.config.wait_duration)
                self.permits -= 1
            period = self.period
        began = self.clock()
        try:
            value = fn(*args, **kwargs)
        except Exception as error:
            if isinstance(error, self.config.ignored):
                self.give_back(period)
            else:
                self.note(period, began, failed=True)
            raise
        except BaseException:
            self.give_back(period)
            raise
        self.note(period, began, failed=False)
        return value

    def give_back(self, period):
        with self.lock:
            if period == self.period:
                self.permits += 1

    def note(self, period, began, failed):
        with self.lock:
            if period != self.period:
                return
            slow = self.clock() - began > self.config.slow_call_threshold
            if self.current is State.HALF_OPEN:
                self.missing -= 1
                if failed or slow:
                    self.open()
                elif not self.missing:
                    self.change(State.CLOSED)
                return
            self.results.append((failed, slow))
            calls = len(self.results)
            if calls >= min(self.config.min_calls_to_open, self.config.window_size):
                errors = sum(failed for failed, _ in self.results) / calls
                slows = sum(slow for _, slow in self.results) / calls
                if errors >= self.config.error_rate or slows >= self.config.slow_call_rate:
                    self.open()
