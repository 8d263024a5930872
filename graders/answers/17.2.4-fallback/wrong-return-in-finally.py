# wrong: the answer is returned from a finally block, which swallows whatever was raised
# fails: programming-errors-are-not-hidden, cancellation-is-not-hidden
# says: TypeError to reach the caller
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
        answer = None
        try:
            items = self.client.get(user)
            self.cache[user] = (items, self.clock())
            answer = Answer(items, "live")
        finally:
            return answer or self.without_client(user)

    def without_client(self, user):
        if user in self.cache:
            items, stored = self.cache[user]
            if self.clock() - stored < 300:
                return Answer(items, "cache")
        return Answer(self.popular, "static")
