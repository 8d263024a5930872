# wrong: adds up its sleeps: the time that the calls take is forgotten
# fails: never-sleeps-past-the-deadline
# says: after 2 s
# says: no sleep that ends at or after the deadline
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    now = clock()
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error) or attempt + 1 == config.max_attempts:
                raise
            bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
            wait = max(rng.uniform(0, bound), getattr(error, "retry_after", None) or 0)
            if deadline is not None and now + wait >= deadline:
                raise
        sleep(wait)
        now += wait
