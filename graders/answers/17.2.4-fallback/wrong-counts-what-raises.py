# wrong: the count stands in a finally block, so bugs and cancellations are counted as live
# fails: levels-add-up
# says: nothing to be counted
# %% solution="fallback"
import time


class RecommendationService:
    def __init__(self, client, cache, popular, metrics, clock=time.monotonic):
        self.client = client
        self.cache = cache
        self.popular = popular
        self.metrics = metrics
        self.clock = clock

    def recommend(self, user):
        level = "live"
        try:
            answer = self.answer(user)
            level = answer.level
            return answer
        finally:
            self.metrics.inc(level)

    def answer(self, user):
        try:
            items = self.client.get(user)
        except OSError:
            return self.without_client(user)
        self.cache[user] = (items, self.clock())
        return Answer(items, "live")

    def without_client(self, user):
        if user in self.cache:
            items, stored = self.cache[user]
            if self.clock() - stored < 300:
                return Answer(items, "cache")
        return Answer(self.popular, "static")
