# right: reads the cache inside the except block, KeyError for a miss
# %% solution="fallback"
import time


class RecommendationService:
    def __init__(self, client, cache, popular, metrics, clock=time.monotonic):
        self.client, self.cache, self.popular = client, cache, popular
        self.metrics, self.clock = metrics, clock

    def recommend(self, user):
        try:
            items, level = self.client.get(user), "live"
        except OSError:
            try:
                items, until = self.cache[user]
                level = "cache"
                if until <= self.clock():
                    raise KeyError(user)
            except KeyError:
                items, level = self.popular, "static"
        else:
            self.cache[user] = items, self.clock() + 300
        self.metrics.inc(level)
        return Answer(items, level)
