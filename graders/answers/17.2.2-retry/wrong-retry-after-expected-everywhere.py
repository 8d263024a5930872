# wrong: reads error.retry_after of errors that have none
# fails: tries-up-to-max-attempts, permanent-errors-are-raised-at-once, last-error-is-raised-as-it-was, delays-stay-within-bounds, retry-after-is-the-floor, never-sleeps-past-the-deadline, uses-what-it-is-given, spreads-the-herd
# says: AttributeError
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error) or attempt + 1 == config.max_attempts:
                raise
            bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
            wait = max(rng.uniform(0, bound), error.retry_after or 0)
            if deadline is not None and clock() + wait >= deadline:
                raise
        sleep(wait)
