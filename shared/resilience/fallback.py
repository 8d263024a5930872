"""Answers that get worse instead of failing: a chain of levels, for threads and for asyncio, and a service built on it.

Invariant: a level is tried only after all better ones failed in a way that they declared. Anything else (a programming
error, a cancellation) leaves the chain at once. What leaves it has the failures before it in its `__context__` chain.

The pattern is the fallback of Netflix's Hystrix (github.com/Netflix/Hystrix/wiki, "How it Works", step 8), with two
differences: which failures may be answered from the next level is declared per level, as in Polly and resilience4j, and
every answer says which level it came from, so that a system which limps is seen to limp.

All times are seconds on `clock`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, NamedTuple, Protocol

from shared.resilience.contracts import Answer

__all__ = [
    "TTL",
    "AsyncClient",
    "AsyncRecommendationService",
    "CacheMiss",
    "Client",
    "Fallback",
    "Level",
    "Metrics",
    "RecommendationService",
    "Served",
]

TTL = 300.0
"""Seconds for which a live answer may be served again."""

OnFailure = Callable[[str, Exception], object]
"""Told the name of a level and the declared failure that made the chain leave it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Level:
    """One way to an answer. `failures` are the exceptions after which the next level may answer instead.

    Raises ValueError where `failures` holds something that is no Exception class: cancellation is not answered.
    """

    name: str
    call: Callable[..., Any]
    failures: tuple[type[Exception], ...] = (OSError,)

    def __post_init__(self) -> None:
        if not all(isinstance(each, type) and issubclass(each, Exception) for each in self.failures):
            raise ValueError(f"failures of level {self.name!r} must be subclasses of Exception, not {self.failures!r}")


class Served(NamedTuple):
    """An answer and the name of the level that gave it."""

    level: str
    value: Any


class Fallback:
    """Tries `levels`, best first, and returns the first answer. Safe to share between threads: it has no state.

    `on_failure` hears of every declared failure, before the next level is tried; what it raises is logged, not raised.
    Raises ValueError without levels, or where two share a name (their metrics would be one).
    """

    __slots__ = ("_levels", "_on_failure")

    def __init__(self, *levels: Level, on_failure: OnFailure | None = None) -> None:
        names = [level.name for level in levels]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a fallback needs levels, each with a name of its own, not {names!r}")
        self._levels = levels
        self._on_failure = on_failure

    def call(self, *args: Any) -> Served:
        """Return the first answer to `args`; raise what is no declared failure, and the last level's failure."""
        return self._call(0, args)

    async def call_async(self, *args: Any) -> Served:
        """The same, awaiting the levels that return awaitables."""
        return await self._call_async(0, args)

    # Each level is tried inside the `except` block of the one before: so Python itself chains their errors.

    def _call(self, index: int, args: tuple[Any, ...]) -> Served:
        level = self._levels[index]
        try:
            return Served(level.name, level.call(*args))
        except CancelledError:  # an Exception in concurrent.futures: it must not pass for a failure
            raise
        except level.failures as error:
            if self._is_last(index, error):
                raise
            return self._call(index + 1, args)

    async def _call_async(self, index: int, args: tuple[Any, ...]) -> Served:
        level = self._levels[index]
        try:
            value = level.call(*args)
            return Served(level.name, await value if isawaitable(value) else value)
        except CancelledError:
            raise
        except level.failures as error:
            if self._is_last(index, error):
                raise
            return await self._call_async(index + 1, args)

    def _is_last(self, index: int, error: Exception) -> bool:
        _report(self._on_failure, self._levels[index].name, error)
        return index + 1 == len(self._levels)


def _report(on_failure: OnFailure | None, level: str, error: Exception) -> None:
    if on_failure is None:
        return
    try:
        on_failure(level, error)
    except Exception:
        _log.exception("on_failure raised for level %s", level)


class CacheMiss(LookupError):
    """The cache holds no answer for this user that is fresh enough."""


class Client(Protocol):
    """The recommender. Its failures are OSErrors."""

    def get(self, user: Any) -> Sequence[Any]: ...


class AsyncClient(Protocol):
    """The recommender, awaited."""

    def get(self, user: Any) -> Awaitable[Sequence[Any]]: ...


class Metrics(Protocol):
    """Counts answers by level."""

    def inc(self, level: str) -> object: ...


class _Service:
    """What both services share: the levels below the live one, and the counting."""

    __slots__ = ("_cache", "_client", "_clock", "_fallback", "_metrics", "_on_failure", "_popular", "_ttl")

    def __init__(
        self,
        client: Any,
        cache: MutableMapping[Any, Any],
        popular: Sequence[Any],
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        *,
        ttl: float = TTL,
        on_failure: OnFailure | None = None,
    ) -> None:
        self._client, self._cache, self._popular = client, cache, popular
        self._metrics, self._clock, self._ttl, self._on_failure = metrics, clock, ttl, on_failure
        self._fallback = Fallback(
            Level("live", self._live),
            Level("cache", self._cached, (CacheMiss, OSError)),
            Level("static", self._static),
            on_failure=on_failure,
        )

    def _live(self, user: Any) -> Any:
        raise NotImplementedError

    def _remember(self, user: Any, items: Sequence[Any]) -> list[Any]:
        """Cache a live answer, stamped with the instant of its arrival. Nobody can edit the entry: it is immutable."""
        try:
            self._cache[user] = (tuple(items), self._clock())
        except OSError as error:  # a remote cache that is away is no reason to throw a live answer away
            _report(self._on_failure, "cache", error)
        return list(items)

    def _cached(self, user: Any) -> list[Any]:
        entry = self._cache.get(user)
        if entry is None or self._clock() - entry[1] >= self._ttl:
            raise CacheMiss(user)
        return list(entry[0])

    def _static(self, user: Any) -> list[Any]:
        return list(self._popular)

    def _answer(self, served: Served) -> Answer:
        self._metrics.inc(served.level)
        return Answer(served.value, served.level)


class RecommendationService(_Service):
    """Recommendations that are live, or at most `ttl` seconds old, or the popular list; and say which.

    `cache` is any mapping, `(items, instant)` per user; it bounds its own size. `popular` is read anew each time, so it
    may be replaced in place. Safe to share between threads where single reads and writes of `cache` are atomic, as a
    dict's are.
    """

    __slots__ = ()

    def recommend(self, user: Any) -> Answer:
        """The best answer to be had. What is no OSError of the client goes to the caller, uncounted."""
        return self._answer(self._fallback.call(user))

    def _live(self, user: Any) -> list[Any]:
        return self._remember(user, self._client.get(user))


class AsyncRecommendationService(_Service):
    """The same for asyncio: `client.get` is awaited. One event loop at a time."""

    __slots__ = ()

    async def recommend(self, user: Any) -> Answer:
        """The best answer to be had. What is no OSError of the client goes to the caller, uncounted."""
        return self._answer(await self._fallback.call_async(user))

    async def _live(self, user: Any) -> list[Any]:
        return self._remember(user, await self._client.get(user))
