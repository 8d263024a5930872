# wrong: a permanent error comes out as a RuntimeError
# fails: permanent-errors-are-raised-at-once
# says: the caller to get that very error
# says: an error of its own, RuntimeError
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error):
                raise RuntimeError("not retryable") from error
            if attempt + 1 == config.max_attempts:
                raise
            bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
            wait = max(rng.uniform(0, bound), getattr(error, "retry_after", None) or 0)
            if deadline is not None and clock() + wait >= deadline:
                raise
        sleep(wait)
