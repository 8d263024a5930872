# wrong: the usual listing: any error counts as an outage, and no level has a metric
# fails: levels-add-up, programming-errors-are-not-hidden, cancellation-is-not-hidden
# says: counted nothing
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
        try:
            items = self.client.get(user)
        except Exception:
            return self.without_client(user)
        self.cache[user] = (items, self.clock())
        return Answer(items, "live")

    def without_client(self, user):
        if user in self.cache:
            items, stored = self.cache[user]
            if self.clock() - stored < 300:
                return Answer(items, "cache")
        return Answer(self.popular, "static")
