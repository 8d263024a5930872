# wrong: raises TimeoutError at the deadline: the last error is lost
# fails: never-sleeps-past-the-deadline
# says: raise the error of its last call
# says: an error of its own, TimeoutError
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
            if deadline is not None and clock() + wait >= deadline:
                raise TimeoutError("deadline")
        sleep(wait)
