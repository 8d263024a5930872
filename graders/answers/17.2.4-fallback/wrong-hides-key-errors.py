# wrong: one try around client and cache: the KeyError of a bug passes for a cache miss
# fails: programming-errors-are-not-hidden
# says: KeyError to reach the caller
# says: level 'static'
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
        self.metrics.inc(answer.level)
        return answer

    def answer(self, user):
        try:
            try:
                items = self.client.get(user)
            except OSError:
                items, stored = self.cache[user]
                if self.clock() - stored < 300:
                    return Answer(items, "cache")
                raise KeyError(user)
            self.cache[user] = (items, self.clock())
            return Answer(items, "live")
        except KeyError:
            return Answer(self.popular, "static")

    def without_client(self, user):
        if user in self.cache:
            items, stored = self.cache[user]
            if self.clock() - stored < 300:
                return Answer(items, "cache")
        return Answer(self.popular, "static")
