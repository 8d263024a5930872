# wrong: a bare except takes Ctrl-C and cancellation for an outage too
# fails: cancellation-is-not-hidden, programming-errors-are-not-hidden
# says: asyncio.CancelledError to reach the caller
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
            items = self.client.get(user)
        except:
            return self.without_client(user)
        self.cache[user] = (items, self.clock())
        return Answer(items, "live")

    def without_client(self, user):
        if user in self.cache:
            items, stored = self.cache[user]
            if self.clock() - stored < 300:
                return Answer(items, "cache")
        return Answer(self.popular, "static")
