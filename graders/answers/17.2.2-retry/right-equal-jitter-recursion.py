# right: equal jitter; recursion, one call deep per attempt
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None, _attempt=1):
    try:
        return fn()
    except Exception as error:
        last = error
    half = min(config.max_delay, config.initial_delay * config.multiplier ** (_attempt - 1)) / 2
    pause = half + half * rng.random()
    asked = getattr(last, "retry_after", None)
    if asked is not None and asked > pause:
        pause = asked
    late = deadline is not None and not clock() + pause < deadline
    if _attempt >= config.max_attempts or late or not is_retryable(last):
        raise last
    sleep(pause)
    return retry(fn, config, sleep=sleep, rng=rng, clock=clock, deadline=deadline, _attempt=_attempt + 1)
