# wrong: draws from the uncapped range and caps then: once saturated, nearly all wait max_delay
# fails: spreads-the-herd
# says: call number 6 of 100 clients
# says: at most 25
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error) or attempt + 1 == config.max_attempts:
                raise
            bound = config.initial_delay * config.multiplier**attempt
            wait = max(min(config.max_delay, rng.uniform(bound / 2, bound)), getattr(error, "retry_after", None) or 0)
            if deadline is not None and clock() + wait >= deadline:
                raise
        sleep(wait)
