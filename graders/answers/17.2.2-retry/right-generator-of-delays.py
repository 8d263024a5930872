# right: a generator makes the bounds by multiplying up; what the server asks for comes on top of the jitter
# %% solution="retry"
def bounds(config):
    bound = config.initial_delay
    for _ in range(config.max_attempts - 1):
        yield min(bound, config.max_delay)
        bound *= config.multiplier


def retry(fn, config, *, sleep, rng, clock, deadline=None):
    for bound in bounds(config):
        try:
            return fn()
        except BaseException as error:
            if not is_retryable(error):
                raise
            pause = (getattr(error, "retry_after", None) or 0.0) + bound * rng.random()
            if deadline is not None and deadline - clock() <= pause:
                raise
        sleep(pause)
    return fn()
