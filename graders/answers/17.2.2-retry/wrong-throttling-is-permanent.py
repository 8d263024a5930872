# wrong: 429 is a 4xx, so it is taken for permanent
# fails: tries-up-to-max-attempts, retry-after-is-the-floor
# says: HTTP 429
# says: it was called once
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error) or getattr(error, "status", 0) == 429 or attempt + 1 == config.max_attempts:
                raise
            bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
            wait = max(rng.uniform(0, bound), getattr(error, "retry_after", None) or 0)
            if deadline is not None and clock() + wait >= deadline:
                raise
        sleep(wait)
