# wrong: takes None, 0 or an empty list for a failure
# fails: tries-up-to-max-attempts
# says: to be called once: call 1 succeeds
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    for attempt in range(config.max_attempts):
        try:
            value = fn()
            if value or attempt + 1 == config.max_attempts:
                return value
            wait = 0.0
        except Exception as error:
            if not is_retryable(error) or attempt + 1 == config.max_attempts:
                raise
            bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
            wait = max(rng.uniform(0, bound), getattr(error, "retry_after", None) or 0)
            if deadline is not None and clock() + wait >= deadline:
                raise
        sleep(wait)
