# wrong: a fresh entry is served without asking the client: a cache, not a fallback
# fails: asks-the-client-first, falls-back-to-the-cache, cached-answers-live-five-minutes, empty-answer-is-an-answer, programming-errors-are-not-hidden, cancellation-is-not-hidden
# says: level 'live' with
# says: the client was not asked
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
        if user in self.cache and self.clock() - self.cache[user][1] < 300:
            return Answer(self.cache[user][0], "cache")
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
