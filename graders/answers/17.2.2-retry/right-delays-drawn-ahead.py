# right: all waits are drawn before the first call; try/except/else in a while loop
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=float("inf")):
    if deadline is None:
        deadline = float("inf")
    delays = [
        rng.triangular(0, bound, bound / 2)
        for n in range(config.max_attempts - 1)
        for bound in [min(config.max_delay, config.initial_delay * pow(config.multiplier, n))]
    ]
    while True:
        try:
            result = fn()
        except Exception as error:
            if not (delays and is_retryable(error)):
                raise
            delay = max(delays.pop(0), getattr(error, "retry_after", 0) or 0)
            if clock() + delay >= deadline:
                raise
            sleep(delay)
        else:
            return result
