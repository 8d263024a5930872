# right: calls become (value, error) pairs; logs to stderr; whole microseconds, as in Go
# %% solution="retry"
import logging
import sys


def outcome_of(fn):
    try:
        return fn(), None
    except Exception as error:
        return None, error


def retry(fn, config, *, sleep, rng, clock, deadline=None):
    left = config.max_attempts
    ceiling = config.initial_delay
    while True:
        value, error = outcome_of(fn)
        if error is None:
            return value
        left -= 1
        micros = rng.randrange(int(min(ceiling, config.max_delay) * 1_000_000) + 1)
        ceiling *= config.multiplier
        wait = max(micros / 1_000_000, error.retry_after or 0 if hasattr(error, "retry_after") else 0)
        if left < 1 or not is_retryable(error) or (deadline is not None and clock() + wait >= deadline):
            raise error
        logging.warning("%r, next try in %.3f s", error, wait)
        print("retrying", file=sys.stderr)
        sleep(wait)
