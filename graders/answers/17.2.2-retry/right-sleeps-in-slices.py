# right: a class with a policy per call; waits in several short sleeps; no jitter when the server named a longer time
# %% solution="retry"
class Backoff:
    def __init__(self, config, rng):
        self.config, self.rng, self.failures = config, rng, 0

    def pause_after(self, error):
        self.failures += 1
        if not is_retryable(error) or self.failures == self.config.max_attempts:
            return None
        most = self.config.initial_delay
        for _ in range(self.failures - 1):
            most = min(most * self.config.multiplier, self.config.max_delay)
        most = min(most, self.config.max_delay)
        drawn = most - most / 2 * self.rng.random()
        asked = getattr(error, "retry_after", None)
        return drawn if asked is None or asked < drawn else asked


def retry(fn, config, *, sleep, rng, clock, deadline=None):
    backoff = Backoff(config, rng)
    while True:
        try:
            return fn()
        except (OSError, HttpError) as error:
            pause = backoff.pause_after(error)
            if pause is None or (deadline is not None and clock() >= deadline - pause):
                raise
        for _ in range(4):
            sleep(pause / 4)
