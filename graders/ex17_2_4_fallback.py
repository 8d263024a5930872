"""The checks of 17.2.4: what a service with three levels answers and counts, seen only from its client and its callers.

Invariant: every design that keeps the stated rules passes. The client answers or fails at once and ages keep a second
away from the limit, so it does not matter when a clock is read. Each check keeps to the part of the story that its
property needs: users whose answers are empty, stale entries, broken caches and bugs come only where they are judged.

A scenario is a list of steps: time passes, or a user asks and the client does something. A history has one event per
asking; `_asked` refuses one that is not complete, `_Rules` says what a right service answers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from hypothesis import strategies as st

from graders.kit import Check, Event, History, Mismatch, World

REFERENCE = "shared.resilience.fallback"

_ORDER = "Hint 1: the order"
_ENTRY = "Hint 2: the entry"
_EXCEPT = "Hint 3: the except block"

_TTL = 300.0
"""Seconds for which a live answer may be served again."""
_BEFORE = 1000.0
"""Seconds on the clock when a scenario begins: an instant is no duration."""
_POPULAR = ["bestseller 1", "bestseller 2"]

_FAILURES: dict[str, type[BaseException]] = {
    each.__name__: each for each in (ConnectionError, TimeoutError, ConnectionRefusedError, ConnectionResetError)
}
_BUGS: dict[str, type[BaseException]] = {
    each.__name__: each for each in (TypeError, KeyError, AttributeError, IndexError, NameError, ZeroDivisionError)
}
_CANCELLATIONS: dict[str, type[BaseException]] = {
    "asyncio.CancelledError": asyncio.CancelledError,
    "concurrent.futures.CancelledError": concurrent.futures.CancelledError,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": SystemExit,
}
_CACHE_ERRORS: dict[str, type[BaseException]] = {
    each.__name__: each for each in (RuntimeError, ConnectionResetError, ValueError)
}

_COLOUR = {"live": "accepted", "cache": "waiting", "static": "slow"}
"""The levels on the timeline, in the colours that they have in the notebook's pictures."""

Step = dict[str, Any]


# Scenarios


def _ask(user: str, client: str = "answers", cache: str = "") -> Step:
    """`client`: "answers", "answers with nothing" or what it raises; `cache`: what reading it raises after that."""
    return {"do": "ask", "user": user, "client": client, "cache": cache}


def _pass(seconds: float) -> Step:
    return {"do": "pass", "seconds": seconds}


def _described(steps: list[Step]) -> str:
    return " → ".join(_step_in_words(step) for step in steps)


def _step_in_words(step: Step) -> str:
    if step["do"] == "pass":
        return f"{step['seconds']:g} s pass"
    return f"{step['user']} asks, {_client_in_words(step)}"


def _client_in_words(step: Step) -> str:
    client = step["client"]
    words = f"the client {client}" if client.startswith("answers") else f"the client raises {client}"
    return words + (f", then reading the cache raises {step['cache']}" if step["cache"] else "")


def _live_items(step: Step, number: int) -> list[str]:
    """What the client answers when it is asked in the scenario's asking `number`."""
    return [] if step["client"] == "answers with nothing" else [f"book {number} for {step['user']}"]


_users = st.sampled_from(("ana", "eva", "luis"))
_failures = st.sampled_from(tuple(_FAILURES))


# Beside the answer


class _Client:
    """Does what the present step says. `error` is what it raised in it."""

    def __init__(self, cache: dict[Any, Any]) -> None:
        self._cache = cache
        self.step: Step = {}
        self.number = 0
        self.asked = 0
        self.error: BaseException | None = None

    def begin(self, step: Step, number: int) -> None:
        self.step, self.number, self.asked, self.error = step, number, 0, None

    def get(self, user: str) -> list[str]:
        self.asked += 1
        if self.step["client"].startswith("answers"):
            return _live_items({**self.step, "user": user}, self.number)
        kind = (_FAILURES | _BUGS | _CANCELLATIONS)[self.step["client"]]
        self.error = kind(f"from the client, asking {self.number}")
        if self.step["cache"] and isinstance(self._cache, _BreakableCache):
            self._cache.error = _CACHE_ERRORS[self.step["cache"]]("from the cache")
        raise self.error


class _BreakableCache(dict[Any, Any]):
    """A dict whose reading raises `error` while there is one. Writing works."""

    error: BaseException | None = None


def _guarded(name: str) -> Callable[..., Any]:
    read = getattr(dict, name)

    def method(self: _BreakableCache, *args: Any, **kwargs: Any) -> Any:
        if self.error is not None:
            raise self.error
        return read(self, *args, **kwargs)

    return method


for _name in ("get", "pop", "setdefault", "keys", "values", "items", "copy"):
    setattr(_BreakableCache, _name, _guarded(_name))
for _name in ("__getitem__", "__contains__", "__iter__", "__len__"):
    setattr(_BreakableCache, _name, _guarded(_name))


class _Metrics:
    def __init__(self) -> None:
        self.counted: list[str] = []

    def inc(self, level: str) -> None:
        self.counted.append(_word(level))


def _play(answer: Any, steps: list[Step], world: World) -> None:
    """One event per asking.

    Its fields: `ask` (its number), `asked` (calls of the client), `level` and `items` of the answer, `counted` (levels
    given to the metrics), `own` (the client's error is what was raised, or in its chain), `kept` (what was raised has
    its type).
    """
    cache: dict[Any, Any] = _BreakableCache() if any(step.get("cache") for step in steps) else {}
    client, metrics = _Client(cache), _Metrics()
    service = answer(client, cache, list(_POPULAR), metrics, world.clock)
    number = 0
    for step in steps:
        if step["do"] == "pass":
            world.sleep(step["seconds"])
            continue
        number += 1
        client.begin(step, number)
        mark: dict[str, Any] = {"ask": number, "level": None, "items": None, "own": False, "kept": False}
        already = len(metrics.counted)

        def recommend(user: str = step["user"], mark: dict[str, Any] = mark) -> Any:
            try:
                got = service.recommend(user)
            except BaseException as error:
                mark.update(own=_reaches(error, client.error), kept=isinstance(error, type(client.error)))
                raise
            mark.update(level=_level_of(got), items=_items_of(got))
            return None if mark["level"] is None else f"{mark['level']}: {mark['items']}"

        event = world.call(_step_in_words(step), recommend, catch=BaseException)
        if isinstance(cache, _BreakableCache):
            cache.error = None
        event.update(mark, asked=client.asked, counted=metrics.counted[already:])
        event["kind"] = _COLOUR.get(mark["level"], event["kind"])


def _reaches(error: BaseException, wanted: BaseException | None) -> bool:
    """Whether `wanted` is `error`, or one of its causes, contexts or parts."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if each is wanted:
            return True
        if id(each) not in seen:
            seen.add(id(each))
            parts = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
            waiting += [link for link in (each.__cause__, each.__context__, *parts) if link is not None]
    return False


def _word(value: Any) -> str:
    """A level's name; enumerations that are strings count by their value."""
    return "".join(value) if isinstance(value, str) else f"<{type(value).__name__}>"


def _level_of(got: Any) -> str | None:
    return _word(got.level) if hasattr(got, "level") and hasattr(got, "items") else None


def _items_of(got: Any) -> list[Any] | str | None:
    items = getattr(got, "items", None)
    return [_word(item) for item in items] if isinstance(items, list | tuple) else f"<{type(items).__name__}>"


# In the examiner


class _Rules:
    """What a right service answers, told what happened."""

    def __init__(self) -> None:
        self.cache: dict[str, tuple[list[str], float]] = {}

    def expected(self, step: Step, event: Event) -> tuple[str, list[str], str]:
        """Level, items and the reason in words, of an asking whose client answers or fails."""
        user = step["user"]
        if step["client"].startswith("answers"):
            items = _live_items(step, event["ask"])
            self.cache[user] = (items, event["t"])
            return "live", items, "the client answered"
        if user in self.cache:
            items, at = self.cache[user]
            age = event["t"] - at
            if age < _TTL:
                return "cache", items, f"{user}'s last live answer is {age:g} s old"
            return "static", _POPULAR, f"{user}'s last live answer is {age:g} s old, too old"
        return "static", _POPULAR, f"{user} never had a live answer"


def _asked(steps: list[Step], history: History) -> Iterator[tuple[int, Step, Event]]:
    """Each asking with its event. Raises Mismatch unless the history tells of all of them, to their end."""
    asks = [step for step in steps if step["do"] == "ask"]
    complete = len(history) == len(asks) and all(_is_whole(event, number) for number, event in enumerate(history, 1))
    if not complete:
        raise Mismatch(
            expected=f"a record of all {len(asks)} askings, each to its end",
            observed=f"a record that lacks some of it ({len(history)} events)",
        )
    return ((index, step, event) for index, (step, event) in enumerate(zip(asks, history, strict=True)))


def _is_whole(event: Event, number: int) -> bool:
    return event.get("ask") == number and event.get("outcome") in ("returned", "raised") and "until" in event


def _answer_in_words(level: str | None, items: Any) -> str:
    return f"level {level!r} with {items}"


def _observed(event: Event) -> str:
    if event["outcome"] == "raised":
        return f"it raised {event['error']}" + (f": {event['message']}" if event["message"] else "")
    if event["level"] is None:
        return "it returned something that is no Answer"
    told = _answer_in_words(event["level"], event["items"])
    return told + ("" if event["asked"] else "; the client was not asked")


def _gives(event: Event, level: str, items: list[str]) -> bool:
    return event["outcome"] == "returned" and (event["level"], event["items"]) == (level, items)


def _part(index: int, expected: str, observed: str) -> NoReturn:
    raise Mismatch(expected=f"asking {index + 1}: {expected}", observed=observed, at=index)


class _ServiceCheck(Check):
    """A scenario is a list of steps; by default each asking must get the answer of a right service."""

    def drive(self, answer: Any, scenario: list[Step], world: World) -> None:
        world.sleep(_BEFORE)
        _play(answer, scenario, world)

    def judge(self, scenario: list[Step], history: History) -> None:
        rules = _Rules()
        for index, step, event in _asked(scenario, history):
            level, items, why = rules.expected(step, event)
            if not _gives(event, level, items):
                _part(index, f"{_answer_in_words(level, items)}: {why}", _observed(event))

    def describe(self, scenario: list[Step]) -> str:
        return _described(scenario)


# The checks


class AsksTheClientFirst(_ServiceCheck):
    """While the client answers, every answer is its newest one, and its level is "live"."""

    hint = _ORDER
    scenarios = st.lists(_users.map(_ask), min_size=1, max_size=5)
    examples = 15
    always = [[_ask("eva")], [_ask("eva"), _ask("eva")]]


def _cached(kinds: list[str], gap: float) -> list[Step]:
    steps = [_ask("eva"), _ask("ana"), _ask("eva"), _pass(gap)]
    return steps + [_ask(user, kind) for kind in kinds for user in ("eva", "ana")]


class FallsBackToTheCache(_ServiceCheck):
    """When the client fails, users get their own last live answer again, and its level is "cache"."""

    hint = _ENTRY
    scenarios = st.builds(_cached, st.lists(_failures, min_size=1, max_size=2), st.sampled_from((0.5, 1.0, 2.0)))
    examples = 15
    always = [
        *([_ask("eva"), _ask("eva", kind)] for kind in _FAILURES),
        [_ask("eva"), *[_ask("eva", "ConnectionError")] * 2],
        [_ask("eva"), _ask("ana"), _ask("eva", "ConnectionError")],
        [_ask("eva"), _ask("eva"), _ask("eva", "ConnectionError")],
        _cached(["ConnectionError"], 1.0),
    ]


def _aging(first: float, second: float, renewed: bool) -> list[Step]:
    """Time passes twice; in between the client answers again, or the cache does."""
    between = _ask("eva") if renewed else _ask("eva", "ConnectionError")
    return [_ask("eva"), _pass(first), between, _pass(second), _ask("eva", "ConnectionError")]


class CachedAnswersLiveFiveMinutes(_ServiceCheck):
    """A cached answer is served for 300 s from the live answer, not from the last hit; after that, never."""

    hint = _ENTRY
    scenarios = st.builds(
        _aging, st.integers(1, 298).map(float), st.sampled_from((1.0, 299.0, 301.0, 302.5)), st.booleans()
    )
    examples = 25
    always = [
        [_ask("eva"), _pass(299.0), _ask("eva", "ConnectionError")],
        [_ask("eva"), _pass(301.0), _ask("eva", "ConnectionError")],
        _aging(200.0, 200.0, False),
        _aging(200.0, 200.0, True),
        [_ask("eva"), _pass(200.0), _ask("ana"), _pass(200.0), _ask("eva", "ConnectionError")],
        [_ask("eva"), _pass(301.0), _ask("eva"), _ask("eva", "ConnectionError")],
    ]

    def judge(self, scenario: list[Step], history: History) -> None:
        rules = _Rules()
        for index, step, event in _asked(scenario, history):
            level, items, why = rules.expected(step, event)
            right = _gives(event, level, items)
            if level == "static":  # how the popular list is served is the question of other checks
                age_is_near = abs(event["t"] - rules.cache[step["user"]][1] - _TTL) < 1.0
                stale = event["level"] == "cache" or event["items"] == rules.cache[step["user"]][0]
                right = age_is_near or not (event["outcome"] == "returned" and stale)
            if not right:
                _part(index, f"{_answer_in_words(level, items)}: {why}", _observed(event))


class ServesThePopularListLast(_ServiceCheck):
    """With neither client nor cache, the user gets the popular list, and its level is "static"."""

    hint = _ORDER
    scenarios = st.builds(
        lambda user, kind: [_ask("luis"), _ask(user, kind)], st.sampled_from(("ana", "eva")), _failures
    )
    examples = 8
    always = [*([_ask("eva", kind)] for kind in _FAILURES), [_ask("ana"), _ask("eva", "ConnectionError")]]


class StaticListIsNeverCached(_ServiceCheck):
    """The popular list is not put into the cache: served twice, it is "static" twice."""

    hint = _ORDER
    scenarios = st.builds(
        lambda again, gap: [_ask("eva", "ConnectionError"), _pass(gap), *[_ask("eva", "ConnectionError")] * again],
        st.integers(1, 3),
        st.sampled_from((0.5, 10.0, 100.0)),
    )
    examples = 10
    always = [[_ask("eva", "ConnectionError")] * 2]


class EmptyAnswerIsAnAnswer(_ServiceCheck):
    """An empty list from the client is a live answer, and is cached like any other."""

    hint = _ENTRY
    scenarios = st.builds(
        lambda before, gap: [
            *[_ask("eva")] * before,
            _ask("eva", "answers with nothing"),
            _pass(gap),
            _ask("eva", "ConnectionError"),
        ],
        st.integers(0, 2),
        st.sampled_from((0.5, 1.0, 2.0)),
    )
    examples = 10
    always = [
        [_ask("eva", "answers with nothing")],
        [_ask("eva", "answers with nothing"), _ask("eva", "ConnectionError")],
        [_ask("eva"), _ask("eva", "answers with nothing"), _ask("eva", "ConnectionError")],
    ]


class _NotHidden(_ServiceCheck):
    """Askings that the client answers are as ever; any other must raise."""

    _kept: str
    """The field that says that the right thing was raised."""
    _must: str

    def judge(self, scenario: list[Step], history: History) -> None:
        rules = _Rules()
        for index, step, event in _asked(scenario, history):
            if step["client"].startswith("answers"):
                level, items, why = rules.expected(step, event)
                if not _gives(event, level, items):
                    _part(index, f"{_answer_in_words(level, items)}: {why}", _observed(event))
            elif event["outcome"] != "raised" or not event[self._kept]:
                _part(index, f"{step['client']} to reach the caller{self._must}", _observed(event))


class ProgrammingErrorsAreNotHidden(_NotHidden):
    """A programming error is no outage: it reaches the caller, whatever the cache holds."""

    hint = _EXCEPT
    _kept, _must = "own", ", itself or as the cause of what is raised"
    scenarios = st.builds(
        lambda before, kind: [*[_ask("eva")] * before, _ask("eva", kind)],
        st.integers(0, 2),
        st.sampled_from(tuple(_BUGS)),
    )
    examples = 8
    always = [[*before, _ask("eva", kind)] for before in ([], [_ask("eva")]) for kind in _BUGS]


class CancellationIsNotHidden(_NotHidden):
    """Cancellation, of both kinds, Ctrl-C and exit reach the caller as what they are."""

    hint = _EXCEPT
    _kept, _must = "kept", ""
    scenarios = st.builds(
        lambda before, kind: [*[_ask("eva")] * before, _ask("eva", kind)],
        st.integers(0, 2),
        st.sampled_from(tuple(_CANCELLATIONS)),
    )
    examples = 8
    always = [[*before, _ask("eva", kind)] for before in ([], [_ask("eva")]) for kind in _CANCELLATIONS]


class PrimaryErrorStaysReachable(_ServiceCheck):
    """If reading the cache breaks too, the user gets the popular list, or an error that leads back to the client's."""

    hint = _EXCEPT
    scenarios = st.builds(
        lambda kind, cache: [_ask("eva", kind, cache)], _failures, st.sampled_from(tuple(_CACHE_ERRORS))
    )
    examples = 8
    always = [
        [*before, _ask("eva", kind, cache)]
        for before in ([], [_ask("eva")])
        for kind in ("TimeoutError", "ConnectionError")
        for cache in _CACHE_ERRORS
    ]

    def judge(self, scenario: list[Step], history: History) -> None:
        rules = _Rules()
        for index, step, event in _asked(scenario, history):
            level, items, why = rules.expected(step, event)
            if not step["cache"]:
                if not _gives(event, level, items):
                    _part(index, f"{_answer_in_words(level, items)}: {why}", _observed(event))
                continue
            if event["outcome"] == "raised" and event["own"]:
                continue
            if _gives(event, "static", _POPULAR) or _gives(event, level, items):
                continue
            lost = (
                f", and the client's {step['client']} is nowhere in its chain" if event["outcome"] == "raised" else ""
            )
            _part(
                index,
                f"the popular list, or an error with the client's {step['client']} in its chain",
                _observed(event) + lost,
            )


_every_client = st.sampled_from(("answers", *_FAILURES, *_BUGS, *_CANCELLATIONS))


class LevelsAddUp(_ServiceCheck):
    """Every answer is counted once, under the level that it has; what raises is not counted."""

    hint = _ORDER
    scenarios = st.lists(st.builds(_ask, _users, _every_client), min_size=1, max_size=8)
    examples = 20
    always = [
        [_ask("eva")],
        [_ask("eva"), _ask("eva", "ConnectionError")],
        [_ask("eva", "ConnectionError")],
        *([_ask("eva", kind)] for kind in ("TypeError", "KeyError", *_CANCELLATIONS)),
        [_ask("eva"), _ask("eva", "TypeError")],
        [_ask("eva"), _pass(301.0), _ask("eva", "ConnectionError")],
    ]

    def judge(self, scenario: list[Step], history: History) -> None:
        for index, _, event in _asked(scenario, history):
            counted = ", ".join(repr(level) for level in event["counted"]) or "nothing"
            if event["outcome"] == "raised":
                if event["counted"]:
                    _part(
                        index,
                        f"nothing to be counted, for it raised {event['error']}",
                        f"metrics.inc counted {counted}",
                    )
            elif event["counted"] != [event["level"]]:
                what = "no Answer" if event["level"] is None else f"an answer of level {event['level']!r}"
                _part(index, f"its own level to be counted once; it returned {what}", f"metrics.inc counted {counted}")
