# wrong: draws from the module random, not from rng
# fails: uses-what-it-is-given
# says: as long with one random.Random(1) as with another
# %% solution="retry"
import random


def retry(fn, config, *, sleep, rng, clock, deadline=None):
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error) or attempt + 1 == config.max_attempts:
                raise
            bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
            wait = max(random.uniform(0, bound), getattr(error, "retry_after", None) or 0)
            if deadline is not None and clock() + wait >= deadline:
                raise
        sleep(wait)
