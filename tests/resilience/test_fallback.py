"""The fallback chain and its service keep the rules of exercise 17.2.4, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.resilience.contracts import Answer
from shared.resilience.fallback import (
    TTL,
    AsyncRecommendationService,
    CacheMiss,
    Fallback,
    Level,
    RecommendationService,
    Served,
)
from shared.simulation import explore, explore_async

POPULAR = ["bestseller"]
DEAD = ConnectionRefusedError("dead")


def finished(coroutine: Any) -> Any:
    """The value of a coroutine that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


class Shop:
    """A service with everything around it. `client` holds what the client does next: items, or what it raises."""

    def __init__(self, is_async: bool = False, cache: Any = None, **options: Any) -> None:
        self.now, self.client, self.counted = 100.0, ["book"], Counter[str]()
        self.cache: Any = {} if cache is None else cache
        kind: Any = AsyncRecommendationService if is_async else RecommendationService
        self._is_async = is_async
        client = _AsyncClient(self) if is_async else self
        self.service = kind(client, self.cache, POPULAR, self, lambda: self.now, **options)

    client: Any

    def get(self, user: str) -> Any:
        if isinstance(self.client, BaseException):
            raise self.client
        return self.client

    def inc(self, level: str) -> None:
        self.counted[level] += 1

    def ask(self, user: str = "eva") -> Answer:
        answer = self.service.recommend(user)
        return finished(answer) if self._is_async else answer


class _AsyncClient:
    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def get(self, user: str) -> Any:
        return self._shop.get(user)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Callable[..., Shop]:
    return lambda **options: Shop(request.param, **options)


@pytest.fixture
def shop(make: Callable[..., Shop]) -> Shop:
    return make()


# The service


def test_a_client_that_answers_is_asked_each_time(shop: Shop) -> None:
    shop.ask()
    shop.client = ["another book"]
    assert shop.ask() == Answer(["another book"], "live")


@pytest.mark.parametrize("error", [DEAD, TimeoutError(), OSError("no route")])
def test_a_failing_client_leaves_the_last_live_answer_of_the_same_user(shop: Shop, error: OSError) -> None:
    shop.ask("eva")
    shop.client = error
    assert shop.ask("eva") == Answer(["book"], "cache")
    assert shop.ask("ana") == Answer(POPULAR, "static")


@pytest.mark.parametrize(("age", "level"), [(0.0, "cache"), (299.75, "cache"), (300.0, "static"), (1e9, "static")])
def test_an_entry_is_fresh_for_less_than_its_time(shop: Shop, age: float, level: str) -> None:
    shop.ask()
    shop.client = DEAD
    shop.now += age
    assert shop.ask().level == level


def test_a_hit_does_not_make_an_entry_younger(shop: Shop) -> None:
    shop.ask()
    shop.client = DEAD
    levels = []
    for _ in range(3):
        shop.now += 200.0
        levels.append(shop.ask().level)
    assert levels == ["cache", "static", "static"]


def test_an_entry_ages_from_the_arrival_of_the_answer(make: Callable[..., Shop]) -> None:
    shop = make()
    quick = shop.get

    def slow(user: str) -> Any:
        shop.now += 50.0
        return quick(user)

    shop.get = slow  # type: ignore[method-assign]
    shop.ask()
    shop.client = DEAD
    shop.now += TTL - 50.5
    assert shop.ask().level == "cache"
    assert shop.ask().level == "static"


def test_an_empty_answer_is_live_and_cached(shop: Shop) -> None:
    shop.client = []
    assert shop.ask() == Answer([], "live")
    shop.client = DEAD
    assert shop.ask() == Answer([], "cache")


def test_the_popular_list_is_never_cached(shop: Shop) -> None:
    shop.client = DEAD
    assert [shop.ask().level for _ in range(2)] == ["static", "static"]
    assert shop.cache == {}


@pytest.mark.parametrize(
    "error",
    [
        TypeError(), KeyError(), AttributeError(), LookupError(),
        asyncio.CancelledError(), concurrent.futures.CancelledError(), KeyboardInterrupt(), SystemExit(),
    ],
)  # fmt: skip
def test_what_is_no_outage_reaches_the_caller_uncounted(shop: Shop, error: BaseException) -> None:
    shop.ask()
    shop.client = error
    with pytest.raises(type(error)) as raised:
        shop.ask()
    assert raised.value is error
    assert shop.counted == {"live": 1}


class BrokenCache(dict[Any, Any]):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def get(self, *args: Any) -> Any:
        raise self.error

    def __setitem__(self, *args: Any) -> None:
        raise self.error


def test_a_cache_that_is_away_costs_neither_the_live_answer_nor_the_static_one(make: Callable[..., Shop]) -> None:
    heard: list[tuple[str, Exception]] = []
    away = ConnectionResetError("cache")
    shop = make(cache=BrokenCache(away), on_failure=lambda *each: heard.append(each))
    assert shop.ask().level == "live"
    shop.client = DEAD
    assert shop.ask().level == "static"
    assert heard == [("cache", away), ("live", DEAD), ("cache", away)]


def test_a_bug_in_the_cache_leads_back_to_the_error_of_the_client(make: Callable[..., Shop]) -> None:
    shop = make(cache=BrokenCache(RuntimeError("corrupt")))
    shop.client = DEAD
    with pytest.raises(RuntimeError, match="corrupt") as raised:
        shop.ask()
    assert raised.value.__context__ is DEAD
    assert not shop.counted


def test_a_caller_cannot_edit_what_others_will_get(shop: Shop) -> None:
    shop.ask().items.append("advertisement")
    shop.client.append("the client reuses its list")
    shop.client = DEAD
    assert shop.ask().items == ["book"]
    shop.ask().items.append("advertisement")
    assert shop.ask().items == ["book"]
    shop.ask("ana").items.append("advertisement")
    assert shop.ask("ana").items == POPULAR


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["eva", "ana"]),
        st.sampled_from(["answers", "nothing", "dead", "bug"]),
        st.sampled_from([0.0, 1.0, 150.0, 299.75, 300.0]),
    ),
    max_size=12,
)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_it_answers_and_counts_like_the_rules(is_async: bool, steps: list[tuple[str, str, float]]) -> None:
    shop = Shop(is_async)
    lives: dict[str, tuple[list[str], float]] = {}
    counted = Counter[str]()
    for number, (user, client, gap) in enumerate(steps):
        shop.now += gap
        shop.client = {"answers": [f"book {number}"], "nothing": [], "dead": DEAD, "bug": TypeError()}[client]
        if client == "bug":
            with pytest.raises(TypeError):
                shop.ask(user)
            continue
        if client != "dead":
            lives[user] = (shop.client, shop.now)
            expected = Answer(shop.client, "live")
        elif user in lives and shop.now - lives[user][1] < TTL:
            expected = Answer(lives[user][0], "cache")
        else:
            expected = Answer(POPULAR, "static")
        counted[expected.level] += 1
        assert shop.ask(user) == expected
    assert shop.counted == counted


def test_threads_get_whole_entries_under_all_schedules() -> None:
    def program() -> None:
        numbers = iter(range(4))
        got: list[Answer] = []

        class Client:
            def get(self, user: str) -> list[int]:
                number = next(numbers)
                if number % 2:
                    raise DEAD
                return [number, number]

        class Uncounted:
            def inc(self, level: str) -> None: ...

        service = RecommendationService(Client(), {}, POPULAR, Uncounted())
        service.recommend("eva")
        threads = [threading.Thread(target=lambda: got.append(service.recommend("eva"))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.level for answer in got) == ["cache", "live"]
        assert all(answer.items in ([0, 0], [2, 2]) for answer in got)

    report = explore(program, schedules=40, answer=(RecommendationService, Fallback))
    assert report.ok, str(report)


def test_a_cancelled_task_takes_no_fallback_under_all_orders() -> None:
    async def program() -> None:
        counted: list[str] = []

        class Client:
            async def get(self, user: str) -> list[str]:
                await asyncio.sleep(1.0)
                raise DEAD

        class Metrics:
            def inc(self, level: str) -> None:
                counted.append(level)

        service = AsyncRecommendationService(Client(), {}, POPULAR, Metrics())
        tasks = [asyncio.create_task(service.recommend(user)) for user in ("eva", "ana")]
        await asyncio.sleep(0.5)
        tasks[0].cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(ended[0], asyncio.CancelledError)
        assert ended[1] == Answer(POPULAR, "static")
        assert counted == ["static"]

    report = explore_async(program, schedules=20)
    assert report.ok, str(report)


# The chain


def _raise(error: BaseException) -> Callable[..., Any]:
    def level(*args: Any) -> Any:
        raise error

    return level


@pytest.fixture(params=["call", "call_async"])
def called(request: pytest.FixtureRequest) -> Iterator[Callable[..., Served]]:
    def call(chain: Fallback, *args: Any) -> Served:
        got = getattr(chain, request.param)(*args)
        return finished(got) if inspect.iscoroutine(got) else got

    yield call


def test_the_first_level_that_answers_is_named(called: Callable[..., Served]) -> None:
    chain = Fallback(Level("a", _raise(DEAD)), Level("b", lambda x: x + 1), Level("c", _raise(AssertionError())))
    assert called(chain, 1) == Served("b", 2)


def test_each_level_declares_its_own_failures(called: Callable[..., Served]) -> None:
    chain = Fallback(Level("a", _raise(KeyError()), (KeyError,)), Level("b", _raise(KeyError())), Level("c", lambda: 1))
    with pytest.raises(KeyError):
        called(chain)


def test_the_last_failure_leads_back_to_the_first(called: Callable[..., Served]) -> None:
    first, second, third = OSError("first"), CacheMiss("second"), OSError("third")
    chain = Fallback(Level("a", _raise(first)), Level("b", _raise(second), (CacheMiss,)), Level("c", _raise(third)))
    with pytest.raises(OSError, match="third") as raised:
        called(chain)
    assert raised.value.__context__ is second
    assert second.__context__ is first


def test_a_cancelled_future_is_no_failure_even_where_every_exception_is(called: Callable[..., Served]) -> None:
    chain = Fallback(Level("a", _raise(concurrent.futures.CancelledError()), (Exception,)), Level("b", lambda: 1))
    with pytest.raises(concurrent.futures.CancelledError):
        called(chain)


def test_a_hook_that_raises_is_logged_and_changes_nothing(called: Callable[..., Served], caplog: Any) -> None:
    def hook(level: str, error: Exception) -> None:
        raise ValueError("hook")

    with caplog.at_level(logging.ERROR):
        assert called(Fallback(Level("a", _raise(DEAD)), Level("b", lambda: 1), on_failure=hook)) == Served("b", 1)
    assert "on_failure raised for level a" in caplog.text


def test_bad_chains_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="needs levels"):
        Fallback()
    with pytest.raises(ValueError, match="a name of its own"):
        Fallback(Level("a", int), Level("a", int))
    with pytest.raises(ValueError, match="subclasses of Exception"):
        Level("a", int, (KeyboardInterrupt,))  # type: ignore[arg-type]
