# wrong: any HTTP error is taken for transient: a 404 is asked for five times
# fails: permanent-errors-are-raised-at-once
# says: HTTP 400, which is permanent
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if (not is_retryable(error) and not isinstance(error, HttpError)) or attempt + 1 == config.max_attempts:
                raise
            bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
            wait = max(rng.uniform(0, bound), getattr(error, "retry_after", None) or 0)
            if deadline is not None and clock() + wait >= deadline:
                raise
        sleep(wait)
