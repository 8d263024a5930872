# right: looks the entry up before it asks the client; an unreadable cache is an empty one
# %% solution="fallback"
import time
from dataclasses import dataclass


@dataclass
class Entry:
    items: list
    at: float


class RecommendationService:
    def __init__(self, client, cache, popular, metrics, clock=time.monotonic):
        self.client, self.cache, self.popular = client, cache, popular
        self.metrics, self.clock = metrics, clock

    def recommend(self, user):
        now = self.clock()
        try:
            entry = self.cache.get(user)
        except Exception:
            entry = None
        if entry is not None and now >= entry.at + 300.0:
            entry = None
        try:
            answer = Answer(self.client.get(user), "live")
            self.cache[user] = Entry(answer.items, now)
        except (ConnectionError, TimeoutError):
            answer = Answer(entry.items, "cache") if entry else Answer(self.popular, "static")
        self.metrics.inc(answer.level)
        return answer
