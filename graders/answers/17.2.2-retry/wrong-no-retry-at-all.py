# wrong: calls once and hopes
# fails: tries-up-to-max-attempts, permanent-errors-are-raised-at-once, delays-stay-within-bounds, retry-after-is-the-floor, never-sleeps-past-the-deadline, uses-what-it-is-given, spreads-the-herd
# says: it was called once; it raised the error of call 1
# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    return fn()
