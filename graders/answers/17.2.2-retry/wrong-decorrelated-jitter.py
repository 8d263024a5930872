# wrong: decorrelated jitter: up to three times the last wait; good in the field, and over the bound that is asked for
# fails: delays-stay-within-bounds
# says: before retry 0 a wait of at most
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    drawn = config.initial_delay
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error) or attempt + 1 == config.max_attempts:
                raise
            drawn = rng.uniform(min(config.max_delay, config.initial_delay), min(config.max_delay, 3 * drawn))
            wait = max(drawn, getattr(error, "retry_after", None) or 0)
            if deadline is not None and clock() + wait >= deadline:
                raise
        sleep(wait)
