# wrong: the "good" listing of many courses, ported from Go: exceeds max_delay, sleeps after the last attempt, loses the error, ends with the deadline's error
# fails: last-error-is-raised-as-it-was, no-sleep-after-the-last-attempt, delays-stay-within-bounds, retry-after-is-the-floor, never-sleeps-past-the-deadline
# says: an error of its own, RuntimeError (attempts exhausted)
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    delay = config.initial_delay
    for _ in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error):
                raise
        jitter = rng.uniform(0, delay)
        wait = delay + jitter
        if deadline is not None and clock() + wait > deadline:
            sleep(max(0, deadline - clock()))
            raise TimeoutError("deadline exceeded")
        sleep(wait)
        delay = min(delay * 2, config.max_delay)
    raise RuntimeError("attempts exhausted")
