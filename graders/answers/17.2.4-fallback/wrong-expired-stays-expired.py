# wrong: an expired user is remembered and never served from the cache again
# fails: cached-answers-live-five-minutes
# says: level 'cache' with
# %% solution="fallback"
import time


class RecommendationService:
    def __init__(self, client, cache, popular, metrics, clock=time.monotonic):
        self.client = client
        self.cache = cache
        self.popular = popular
        self.metrics = metrics
        self.clock = clock
        self.expired = set()

    def recommend(self, user):
        answer = self.answer(user)
        self.metrics.inc(answer.level)
        return answer

    def answer(self, user):
        try:
            items = self.client.get(user)
        except OSError:
            return self.without_client(user)
        self.cache.setdefault(user, (items, self.clock()))
        if self.clock() - self.cache[user][1] < 300:
            self.cache[user] = (items, self.clock())
        return Answer(items, "live")

    def without_client(self, user):
        if user in self.cache:
            items, stored = self.cache[user]
            if self.clock() - stored < 300:
                return Answer(items, "cache")
        return Answer(self.popular, "static")
