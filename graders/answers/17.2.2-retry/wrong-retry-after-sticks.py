# wrong: what the server asked for once is kept for all further waits
# fails: retry-after-is-the-floor
# says: which names no retry_after
# says: a wait of at most
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    floor = 0
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error) or attempt + 1 == config.max_attempts:
                raise
            bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
            floor = max(floor, getattr(error, "retry_after", None) or 0)
            wait = max(rng.uniform(0, bound), floor)
            if deadline is not None and clock() + wait >= deadline:
                raise
        sleep(wait)
