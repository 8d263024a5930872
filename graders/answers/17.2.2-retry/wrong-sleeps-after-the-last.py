# wrong: waits once more before it gives up
# fails: no-sleep-after-the-last-attempt
# says: without another sleep
# says: it slept on
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error):
                raise
            last = error
        bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
        wait = max(rng.uniform(0, bound), getattr(last, "retry_after", None) or 0)
        if deadline is not None and clock() + wait >= deadline:
            raise last
        sleep(wait)
    raise last
