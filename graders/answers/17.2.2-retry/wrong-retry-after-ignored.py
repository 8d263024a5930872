# wrong: does not look at retry_after
# fails: retry-after-is-the-floor
# says: retry_after = 5 s, a wait of at least that
# says: it waited
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error) or attempt + 1 == config.max_attempts:
                raise
            bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
            wait = rng.uniform(0, bound)
            if deadline is not None and clock() + wait >= deadline:
                raise
        sleep(wait)
