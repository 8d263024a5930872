# right: the client runs in a pool; its failure is looked at, not caught; a broken cache yields the popular list
# %% solution="fallback"
import time
from concurrent.futures import ThreadPoolExecutor


class RecommendationService:
    def __init__(self, client, cache, popular, metrics, clock=time.monotonic):
        self.client, self.cache, self.popular = client, cache, popular
        self.metrics, self.clock = metrics, clock

    def recommend(self, user):
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(self.client.get, user)
        failure = call.exception()
        if failure is None:
            self.cache[f"live:{user}"] = [call.result(), self.clock()]
            level, items = "live", call.result()
        elif isinstance(failure, OSError):
            level, items = self.second_best(user)
        else:
            raise failure
        self.metrics.inc(level=level)
        return Answer(level=level, items=items)

    def second_best(self, user):
        try:
            items, at = self.cache[f"live:{user}"]
        except Exception:
            return "static", self.popular
        return ("cache", items) if self.clock() - at < 300 else ("static", self.popular)
