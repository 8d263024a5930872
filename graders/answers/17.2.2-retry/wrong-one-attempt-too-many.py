# wrong: max_attempts counts the retries, not the first call
# fails: tries-up-to-max-attempts
# says: to be called once
# says: max_attempts=1 counts the first call
# says: it was called 2 times
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    for attempt in range(config.max_attempts + 1):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error) or attempt == config.max_attempts:
                raise
            bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
            wait = max(rng.uniform(0, bound), getattr(error, "retry_after", None) or 0)
            if deadline is not None and clock() + wait >= deadline:
                raise
        sleep(wait)
