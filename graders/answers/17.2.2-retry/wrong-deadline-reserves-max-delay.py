# wrong: gives up as soon as max_delay would not fit before the deadline
# fails: never-sleeps-past-the-deadline
# says: another call after call 1
# says: no further call
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error) or attempt + 1 == config.max_attempts:
                raise
            bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
            wait = max(rng.uniform(0, bound), getattr(error, "retry_after", None) or 0)
            if deadline is not None and clock() + max(wait, config.max_delay) >= deadline:
                raise
        sleep(wait)
