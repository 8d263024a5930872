# wrong: the last live answer is cached under one key: users see each other's books
# fails: falls-back-to-the-cache, serves-the-popular-list-last, cached-answers-live-five-minutes
# says: book 2 for ana
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
        except OSError:
            return self.without_client(user)
        self.cache["last"] = (items, self.clock())
        return Answer(items, "live")

    def without_client(self, user):
        if "last" in self.cache:
            items, stored = self.cache["last"]
            if self.clock() - stored < 300:
                return Answer(items, "cache")
        return Answer(self.popular, "static")
