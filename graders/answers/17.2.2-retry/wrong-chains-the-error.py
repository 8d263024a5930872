# wrong: wraps the last error: callers that catch ConnectionError no longer do
# fails: last-error-is-raised-as-it-was
# says: an error of its own, RuntimeError
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error):
                raise
            last = error
            if attempt + 1 == config.max_attempts:
                break
            bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
            wait = max(rng.uniform(0, bound), getattr(error, "retry_after", None) or 0)
            if deadline is not None and clock() + wait >= deadline:
                raise
        sleep(wait)
    raise RuntimeError(f"gave up after {config.max_attempts} attempts") from last
