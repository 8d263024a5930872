# wrong: each level that is tried is counted, not the one that answers
# fails: levels-add-up
# says: 'live', 'cache'
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
        answer = self.answer(user)
        return answer

    def answer(self, user):
        self.metrics.inc("live")
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
                self.metrics.inc("cache")
                return Answer(items, "cache")
        self.metrics.inc("static")
        return Answer(self.popular, "static")
