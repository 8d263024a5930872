# right: a timer throws an entry out after five minutes, so that whatever is there is fresh
# %% solution="fallback"
import time
import threading


class RecommendationService:
    def __init__(self, client, cache, popular, metrics, clock=time.monotonic):
        self.client, self.cache, self.popular, self.metrics = client, cache, popular, metrics
        self.lock = threading.Lock()

    def recommend(self, user):
        answer = self.answer(user)
        self.metrics.inc(answer.level)
        return answer

    def answer(self, user):
        try:
            items = self.client.get(user)
        except OSError as outage:
            try:
                with self.lock:
                    if user in self.cache:
                        return Answer(self.cache[user][0], "cache")
            except Exception as broken:
                raise RuntimeError("neither client nor cache") from ExceptionGroup("both", [outage, broken])
            return Answer(self.popular, "static")
        entry = (items,)
        with self.lock:
            self.cache[user] = entry
        timer = threading.Timer(300.0, self.evict, (user, entry))
        timer.daemon = True
        timer.start()
        return Answer(items, "live")

    def evict(self, user, entry):
        with self.lock:
            if self.cache.get(user) is entry:
                del self.cache[user]
