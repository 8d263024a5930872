# wrong: while True, without counting
# fails: tries-up-to-max-attempts
# says: max_attempts=1 counts the first call
# says: it was called 3 times
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    attempt = -1
    while True:
        attempt += 1
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error):
                raise
            bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
            wait = max(rng.uniform(0, bound), getattr(error, "retry_after", None) or 0)
            if deadline is not None and clock() + wait >= deadline:
                raise
        sleep(wait)
