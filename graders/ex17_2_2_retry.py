"""The checks of 17.2.2: what a retry does, seen only from the function it calls and from what its caller gets.

Invariant: every design that keeps the stated rules passes. Waits are random, so a judge never asks for one wait: it
asks whether what was seen was allowed. A check reaches its property by ways that other mistakes leave open: but for
the checks that speak of them, tries are not used up, errors are lost connections, and Retry-After is absent.

A scenario is a configuration and the endings of the calls of the function, in order; calls beyond them succeed, so a
retry that never gives up ends too. The history has one event per call, one per sleep, and one for how `retry` ended.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

from hypothesis import strategies as st

from graders.kit import Check, Event, History, Mismatch, World
from shared.resilience.contracts import BackoffConfig, HttpError

REFERENCE = "shared.resilience.retry"

_LOOP = "Hint 1: the loop"
_WAIT = "Hint 2: the wait"
_HERD = "Hint 3: the herd"

_BEFORE = 100.0
"""Seconds on the clock when a scenario begins: an instant is no duration."""
_TOLERANCE = 1e-6
"""Seconds by which a wait may miss its bound: rounding, and no more."""
_FAR = 12
"""Bounds that a wait would have to exceed many times over belong to another check than the bound's own."""


class _Overloaded(ConnectionError):
    """A lost connection that says when to come back: `retry_after` is not a privilege of HTTP."""

    def __init__(self, words: str, retry_after: float) -> None:
        super().__init__(words)
        self.retry_after = retry_after


_TRANSIENT: dict[str, Callable[[str], BaseException]] = {
    "refused": ConnectionRefusedError,
    "reset": ConnectionResetError,
    "timeout": TimeoutError,
    "500": lambda _: HttpError(500),
    "503": lambda _: HttpError(503),
    "429": lambda _: HttpError(429),
}
_PERMANENT: dict[str, Callable[[str], BaseException]] = {
    "400": lambda _: HttpError(400),
    "404": lambda _: HttpError(404),
    "422": lambda _: HttpError(422),
    "ValueError": ValueError,
    "TypeError": TypeError,
    "FileNotFoundError": FileNotFoundError,
    "KeyboardInterrupt": KeyboardInterrupt,
    "CancelledError": asyncio.CancelledError,
}
_WITH_RETRY_AFTER: dict[str, Callable[[str, float], BaseException]] = {
    "429": lambda _, seconds: HttpError(429, retry_after=seconds),
    "503": lambda _, seconds: HttpError(503, retry_after=seconds),
    "overloaded": _Overloaded,
}
_IN_WORDS = {
    "ok": "succeeds",
    "refused": "connection refused",
    "reset": "connection reset",
    "timeout": "TimeoutError",
    "overloaded": "connection lost",
}
_VALUES: dict[str, Any] = {"an object": object(), "None": None, "0": 0, "False": False, "an empty list": []}

Step = dict[str, Any]


# Scenarios


def _scenario(script: list[Step], deadline: float | None = None, seed: int = 1, **config: Any) -> dict[str, Any]:
    """`deadline` is seconds after the start; None for no deadline."""
    return {"config": config, "script": script, "deadline": deadline, "seed": seed}


def _ends(how: str, retry_after: float | None = None, lasts: float = 0.0) -> Step:
    return {"ends": how, "retry_after": retry_after, "lasts": lasts}


def _fails(times: int, how: str = "refused") -> list[Step]:
    return [_ends(how)] * times


_OK = _ends("ok")


def _in_words(step: Step) -> str:
    how = step["ends"]
    words = _IN_WORDS.get(how, f"HTTP {how}" if how.isdigit() else how)
    if step["retry_after"] is not None:
        words += f" with retry_after {step['retry_after']:g}"
    return words + (f" after {step['lasts']:g} s" if step["lasts"] else "")


def _described(scenario: dict[str, Any]) -> str:
    words = [_in_words(step) for step in scenario["script"]]
    grouped: list[list[Any]] = []
    for word in words:
        if grouped and grouped[-1][0] == word:
            grouped[-1][1] += 1
        else:
            grouped.append([word, 1])
    told = " → ".join(word if count == 1 else f"{word} ×{count}" for word, count in grouped)
    config = ", ".join(f"{name}={value}" for name, value in scenario["config"].items())
    if scenario["deadline"] is not None:
        config += f", the deadline {scenario['deadline']:g} s after the start"
    return f"{config}: {told}"


# Beside the answer


def _play(answer: Any, scenario: dict[str, Any], world: World, *, of: int = 1, value: Any = "done") -> None:
    """One call of `retry`. `of` marks its events where a history holds several."""
    errors: list[BaseException] = []
    script = scenario["script"]
    calls = 0

    def fn() -> Any:
        nonlocal calls
        calls += 1
        step = script[calls - 1] if calls <= len(script) else _OK
        event = world.record(f"call {calls}: {_in_words(step)}", "accepted" if step["ends"] == "ok" else "failed")
        event.update(call=calls, of=of, ends=step["ends"], retry_after=step["retry_after"], until=world.now)
        if step["lasts"]:
            world.sleep(step["lasts"])
        event["until"] = world.now
        if step["ends"] == "ok":
            return value
        errors.append(_error(step, f"from call {calls}"))
        raise errors[-1]

    def sleep(seconds: float) -> None:
        event = world.record("sleep", "waiting", of=of, sleep=True)
        event["until"] = world.now  # sleep() refuses what is no duration
        world.sleep(seconds)
        event["until"] = world.now
        event["what"] = f"sleep for {event['until'] - event['t']:.6g} s"

    mark: dict[str, Any] = {"own": None}

    def call() -> Any:
        deadline = None if scenario["deadline"] is None else world.clock() + scenario["deadline"]
        rng = random.Random(scenario["seed"])
        config = BackoffConfig(**scenario["config"])
        try:
            got = answer(fn, config, sleep=sleep, rng=rng, clock=world.clock, deadline=deadline)
        except BaseException as error:
            mark["own"] = next((number for number, own in enumerate(errors, 1) if own is error), None)
            raise
        mark["own"] = "value" if got is value else None
        return got

    end = world.call("retry", call, catch=BaseException)
    world.history.remove(end)
    world.history.append(end)
    end.update(mark, t=end["until"], of=of, end=True)
    end["what"] = "retry returns" if end["outcome"] == "returned" else "retry ends"


def _error(step: Step, words: str) -> BaseException:
    if step["retry_after"] is not None:
        return _WITH_RETRY_AFTER[step["ends"]](words, step["retry_after"])
    return (_TRANSIENT | _PERMANENT)[step["ends"]](words)


# In the examiner


def _split(history: History, of: int = 1) -> tuple[list[tuple[int, Event]], tuple[int, Event]]:
    """The calls of the function, with their indices, and how `retry` ended."""
    calls = [(index, event) for index, event in enumerate(history) if event.get("of") == of and "call" in event]
    ends = [(index, event) for index, event in enumerate(history) if event.get("of") == of and "end" in event]
    return calls, ends[0]


def _gaps(history: History, of: int = 1) -> list[tuple[int, int, float]]:
    """(retry number from 0, index of the event to point at, seconds waited before it)."""
    calls, _ = _split(history, of)
    found = []
    for number, ((before, failed), (after, again)) in enumerate(itertools.pairwise(calls)):
        slept = next((index for index in range(before + 1, after) if history[index].get("sleep")), after)
        found.append((number, slept, again["t"] - failed["until"]))
    return found


def _bound(config: dict[str, Any], number: int) -> float:
    full = BackoffConfig(**config)
    return min(full.max_delay, full.initial_delay * full.multiplier**number)


def _bound_in_words(config: dict[str, Any], number: int) -> str:
    full = BackoffConfig(**config)
    return (
        f"min({full.max_delay:g}, {full.initial_delay:g} · {full.multiplier:g}^{number}) = {_bound(config, number):g} s"
    )


def _how_it_ended(end: Event) -> str:
    if end["outcome"] == "returned":
        return "it returned normally" if end["own"] is None else "it returned the function's value"
    if end["own"] is not None:
        return f"it raised the error of call {end['own']}"
    return f"it raised an error of its own, {end['error']}" + (f" ({end['message']})" if end["message"] else "")


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _part(index: int, expected: str, observed: str) -> NoReturn:
    raise Mismatch(expected=expected, observed=observed, at=index)


def _point(history: History, index: int) -> int:
    """The first sleep after event `index`, or that event."""
    return next((later for later in range(index + 1, len(history)) if history[later].get("sleep")), index)


def _require_a_call(calls: list[tuple[int, Event]], last: int, end: Event) -> None:
    if not calls:
        _part(last, "the function to be called", f"it was never called; {_how_it_ended(end)}")


def _require_retries(scenario: dict[str, Any], history: History, of: int = 1, planned: int | None = None) -> None:
    """A property of retries is not kept by making none: every failure in the script is followed by a call."""
    calls, (last, end) = _split(history, of)
    planned = planned or len(scenario["script"])
    if len(calls) < planned:
        expected = f"the function to be called {_times(planned)}: its failures may pass, and there are attempts left"
        _part(last, expected, f"it was called {_times(len(calls))}; {_how_it_ended(end)}")


class _RetryCheck(Check):
    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        world.sleep(_BEFORE - world.now)
        _play(answer, scenario, world)

    def describe(self, scenario: dict[str, Any]) -> str:
        return _described(scenario)


# The checks


class PermanentErrorsAreRaisedAtOnce(_RetryCheck):
    """An error that is not retryable reaches the caller at once: no second call, no sleep."""

    hint = _LOOP
    scenarios = st.builds(
        lambda before, how: _scenario([*_fails(before), _ends(how), _OK], max_attempts=6),
        st.integers(0, 3),
        st.sampled_from(tuple(_PERMANENT)),
    )
    examples = 15
    always: ClassVar = [
        *(_scenario([_ends(how), _OK], max_attempts=6) for how in _PERMANENT),
        _scenario([*_fails(2), _ends("404"), _OK], max_attempts=6),
    ]

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        calls, (last, end) = _split(history)
        at = next((place for place, (_, event) in enumerate(calls) if event["ends"] in _PERMANENT), None)
        if at is None:
            first = next(place for place, step in enumerate(scenario["script"]) if step["ends"] in _PERMANENT)
            return _require_retries(scenario, history, planned=first + 1)
        index, event = calls[at]
        told = f"call {event['call']} ended with {_in_words({**event, 'lasts': 0})}, which is permanent"
        if len(calls) > at + 1:
            _part(calls[at + 1][0], f"no further call: {told}", f"call {event['call'] + 1} was made")
        if end["t"] > event["until"]:
            _part(
                _point(history, index), f"the error at once: {told}", f"it came {end['t'] - event['until']:.6g} s later"
            )
        if end["own"] != event["call"]:
            _part(last, f"the caller to get that very error: {told}", _how_it_ended(end))


class TriesUpToMaxAttempts(_RetryCheck):
    """It calls until the first success, at most `max_attempts` times with the first, and returns the value."""

    hint = _LOOP
    scenarios = st.builds(
        lambda failures, attempts, how, value: {
            **_scenario([*_fails(failures, how), _OK], max_attempts=attempts),
            "value": value,
        },
        st.integers(0, 7),
        st.integers(1, 6),
        st.sampled_from(tuple(_TRANSIENT)),
        st.sampled_from(tuple(_VALUES)),
    )
    examples = 25
    always: ClassVar = [
        {**_scenario([*_fails(2), _OK], max_attempts=1), "value": "an object"},
        {**_scenario([*_fails(4), _OK], max_attempts=3), "value": "an object"},
        {**_scenario([*_fails(2), _OK], max_attempts=3), "value": "an object"},
        *({**_scenario([_OK], max_attempts=3), "value": value} for value in _VALUES),
        *({**_scenario([_ends(how), _OK], max_attempts=3), "value": "an object"} for how in _TRANSIENT),
    ]

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        _play(answer, scenario, world, value=_VALUES[scenario["value"]])

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        calls, (last, end) = _split(history)
        script, most = scenario["script"], scenario["config"]["max_attempts"]
        right = min(len(script), most)
        succeeds = right == len(script)
        why = f"call {right} succeeds" if succeeds else f"max_attempts={most} counts the first call"
        if len(calls) != right:
            index = calls[right][0] if len(calls) > right else last
            observed = f"it was called {_times(len(calls))}" if calls else "it was never called"
            if len(calls) < right:
                observed += f"; {_how_it_ended(end)}"
            _part(index, f"the function to be called {_times(right)}: {why}", observed)
        if succeeds and end["own"] != "value":
            _part(last, f"the function's value ({scenario['value']}) to be returned", _how_it_ended(end))

    def describe(self, scenario: dict[str, Any]) -> str:
        return f"{_described(scenario)} with {scenario['value']}"


_EXHAUSTED = st.builds(
    lambda attempts, kinds: _scenario([*(_ends(kind) for kind in kinds), *_fails(attempts)], max_attempts=attempts),
    st.integers(2, 6),
    st.lists(st.sampled_from(("refused", "reset", "timeout")), max_size=4),
)
_ALWAYS_EXHAUSTED = [
    _scenario(_fails(3), max_attempts=2),
    _scenario([_ends("reset"), _ends("timeout"), *_fails(3)], max_attempts=3),
]


class LastErrorIsRaisedAsItWas(_RetryCheck):
    """When the tries are used up, the caller gets the last error itself: not the first, no copy, nothing around it."""

    hint = _LOOP
    scenarios = _EXHAUSTED
    examples = 15
    always: ClassVar = _ALWAYS_EXHAUSTED

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        calls, (last, end) = _split(history)
        _require_a_call(calls, last, end)
        if calls[-1][1]["ends"] == "ok":
            return  # it tried more often than it may: another check speaks of that
        if end["own"] != len(calls):
            _part(
                last,
                f"retry to raise the very error of the last call, call {len(calls)}",
                _how_it_ended(end),
            )


class NoSleepAfterTheLastAttempt(_RetryCheck):
    """After the last attempt there is nothing to wait for: the error comes at once."""

    hint = _LOOP
    scenarios = _EXHAUSTED
    examples = 15
    always: ClassVar = _ALWAYS_EXHAUSTED

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        calls, (last, end) = _split(history)
        _require_a_call(calls, last, end)
        if calls[-1][1]["ends"] == "ok":
            return
        index, event = calls[-1]
        slept = any(later.get("sleep") for later in history[index + 1 :])
        if slept or end["t"] > event["until"]:
            _part(
                _point(history, index),
                f"retry to end with its last call, call {len(calls)}, without another sleep",
                f"it slept on and ended {end['t'] - event['until']:.6g} s later",
            )


_CLIENTS = 24
"""So many draws from [0, b] all stay under b/4 once in 10¹⁴ times."""


def _delays_scenario(retries: int, clients: int = 1, seed: int = 1, **config: Any) -> dict[str, Any]:
    """There are two attempts more than the failures need."""
    return {**_scenario([*_fails(retries), _OK], seed=seed, max_attempts=retries + 3, **config), "clients": clients}


class DelaysStayWithinBounds(_RetryCheck):
    """Before retry n = 0, 1, 2… it waits between 0 and min(max_delay, initial_delay · multiplierⁿ): the bound grows."""

    hint = _WAIT
    scenarios = st.builds(
        lambda retries, seed, initial, multiplier, most: _delays_scenario(
            retries, seed=seed, initial_delay=initial, multiplier=multiplier, max_delay=most
        ),
        st.integers(1, 6),
        st.integers(0, 10_000),
        st.sampled_from((0.1, 0.5, 1.0)),
        st.sampled_from((1.0, 1.5, 2.0, 3.0)),
        st.sampled_from((0.25, 2.0, 10.0)),
    )
    examples = 25
    always: ClassVar = [
        _delays_scenario(4, _CLIENTS, initial_delay=1.0, max_delay=1000.0, multiplier=2.0),
        _delays_scenario(4, _CLIENTS, initial_delay=1.0, max_delay=3.0, multiplier=2.0),
        _delays_scenario(3, _CLIENTS, initial_delay=1.0, max_delay=1000.0, multiplier=1.0),
        _delays_scenario(6, _CLIENTS, initial_delay=1.0, max_delay=1000.0, multiplier=2.0),
        _delays_scenario(4, _CLIENTS, initial_delay=1.0, max_delay=1000.0, multiplier=5.0),
        _delays_scenario(2, _CLIENTS, initial_delay=2.0, max_delay=0.5, multiplier=2.0),
    ]

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        for client in range(scenario["clients"]):
            _play(answer, {**scenario, "seed": 1000 * scenario["seed"] + client}, world, of=client + 1)

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        config = scenario["config"]
        longest: dict[int, tuple[float, int]] = {}
        for client in range(1, scenario["clients"] + 1):
            _require_retries(scenario, history, client)
            for number, index, waited in _gaps(history, client):
                if waited > _bound(config, number) + _TOLERANCE:
                    _part(
                        index,
                        f"before retry {number} a wait of at most {_bound_in_words(config, number)}",
                        f"it waited {waited:.6g} s",
                    )
                longest[number] = max(longest.get(number, (-1.0, 0)), (waited, index))
        if scenario["clients"] < _CLIENTS:
            return
        for number, (waited, index) in longest.items():
            if waited < _bound(config, number) / 4:
                _part(
                    index,
                    f"before retry {number} waits of up to {_bound_in_words(config, number)}; "
                    f"at least one of {_CLIENTS} clients over a quarter of that",
                    f"the longest of {_CLIENTS} waits was {waited:.6g} s",
                )

    def describe(self, scenario: dict[str, Any]) -> str:
        who = f", {scenario['clients']} clients" if scenario["clients"] > 1 else ""
        return _described(scenario) + who


def _floor_scenario(*script: Step, seed: int = 1) -> dict[str, Any]:
    return _scenario([*script, _OK], seed=seed, initial_delay=0.5, max_delay=60.0, max_attempts=len(script) + 3)


class RetryAfterIsTheFloor(_RetryCheck):
    """An error's `retry_after` is the least to wait after *that* error, also where it exceeds the backoff's bound."""

    hint = _WAIT
    scenarios = st.builds(
        lambda steps, seed: _floor_scenario(*steps, seed=seed),
        st.lists(
            st.one_of(
                st.sampled_from(("refused", "reset")).map(_ends),
                st.builds(
                    _ends, st.sampled_from(tuple(_WITH_RETRY_AFTER)), st.sampled_from((0.0, 0.25, 2.0, 5.0, 30.0, 60.0))
                ),
            ),
            min_size=1,
            max_size=4,
        ),
        st.integers(0, 10_000),
    )
    examples = 20
    always: ClassVar = [
        _floor_scenario(_ends("503", 5.0)),
        _floor_scenario(_ends("429", 30.0)),
        _floor_scenario(_ends("503", 30.0), _ends("refused")),
        _floor_scenario(_ends("503", 60.0), _ends("429", 2.0)),
        _floor_scenario(_ends("overloaded", 5.0)),
        _floor_scenario(_ends("503", 0.0)),
    ]

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        _require_retries(scenario, history)
        config = scenario["config"]
        calls, _ = _split(history)
        for number, index, waited in _gaps(history):
            floor = calls[number][1]["retry_after"]
            whose = f"after call {number + 1}"
            asked = "which names no retry_after" if floor is None else f"whose error says retry_after = {floor:g} s"
            if waited < (floor or 0.0) - _TOLERANCE:
                _part(index, f"{whose}, {asked}, a wait of at least that", f"it waited {waited:.6g} s")
            before = max((event["retry_after"] or 0.0 for _, event in calls[:number]), default=0.0)
            if before > (floor or 0.0) + _FAR * _bound(config, number) and waited >= before - _TOLERANCE:
                _part(
                    index,
                    f"{whose}, {asked}, a wait of at most {(floor or 0.0) + _bound(config, number):g} s",
                    f"it waited {waited:.6g} s: the {before:g} s belonged to an earlier error",
                )


def _deadline_scenario(
    *script: Step, deadline: float, initial: float = 0.5, attempts: int = 9, seed: int = 1
) -> dict[str, Any]:
    return _scenario(
        [*script, _OK],
        deadline,
        seed,
        initial_delay=initial,
        max_delay=60.0,
        max_attempts=max(attempts, len(script) + 3),
    )


@st.composite
def _any_deadline(draw: st.DrawFn) -> dict[str, Any]:
    """The first calls take so long, or the deadline is so far, that the end of a wait is never a tie."""
    script = draw(
        st.lists(st.builds(_ends, st.just("refused"), st.none(), st.sampled_from((0.0, 0.25))), min_size=1, max_size=5)
    )
    return _deadline_scenario(
        *script, deadline=draw(st.sampled_from((0.7, 1.3, 2.9, 7.1))), initial=1.0, seed=draw(st.integers(0, 10_000))
    )


class NeverSleepsPastTheDeadline(_RetryCheck):
    """A sleep that would end at or after the deadline is not begun: the last error is raised there and then."""

    hint = _WAIT
    scenarios = _any_deadline()
    examples = 25
    always: ClassVar = [
        _deadline_scenario(_ends("503", 5.0), deadline=3.0),
        _deadline_scenario(_ends("503", 5.0), deadline=20.0),
        _deadline_scenario(_ends("503", 5.0, lasts=2.0), deadline=6.5),
        _deadline_scenario(_ends("503", 5.0), _ends("503", 5.0), deadline=8.0),
        _deadline_scenario(_ends("503", 5.0), _ends("503", 5.0), deadline=40.0),
        _deadline_scenario(_ends("refused"), deadline=0.25, initial=1000.0),
    ]

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        deadline = scenario["deadline"] + _BEFORE
        calls, (last, end) = _split(history)
        _require_a_call(calls, last, end)
        told = f"the deadline is at {deadline:g} s, {scenario['deadline']:g} s after the start"
        for index, event in enumerate(history):
            if event.get("sleep") and event["until"] >= deadline - _TOLERANCE:
                _part(
                    index,
                    f"no sleep that ends at or after the deadline: {told}",
                    f"a sleep begun at {event['t']:.6g} s ended at {event['until']:.6g} s",
                )
            if event.get("call", 1) > 1 and event["t"] >= deadline - _TOLERANCE:
                _part(
                    index,
                    f"no retry at or after the deadline: {told}",
                    f"call {event['call']} began at {event['t']:g} s",
                )
        index, event = calls[-1]
        if event["ends"] == "ok":
            return
        floor, bound = event["retry_after"] or 0.0, _bound(scenario["config"], len(calls) - 1)
        if event["until"] + floor + _FAR * bound < deadline:
            _part(
                last,
                f"another call after call {len(calls)}: its wait ends by {event['until'] + floor + bound:g} s, {told}",
                f"no further call; {_how_it_ended(end)}",
            )
        if any(later.get("sleep") for later in history[index + 1 :]) or end["t"] > event["until"]:
            _part(
                _point(history, index),
                f"retry to end with call {len(calls)}, at {event['until']:g} s: {told}",
                f"it ended at {end['t']:.6g} s",
            )
        if end["own"] != len(calls):
            _part(last, f"retry to raise the error of its last call, call {len(calls)}", _how_it_ended(end))


class UsesWhatItIsGiven(_RetryCheck):
    """It waits with the given `sleep` and draws from the given `rng`: the same seed makes the same waits."""

    hint = _WAIT
    scenarios = st.builds(
        lambda retries, seed: _delays_scenario(retries, 2, seed, initial_delay=1.0, max_delay=60.0),
        st.integers(1, 4),
        st.integers(0, 10_000),
    )
    examples = 5
    always: ClassVar = [_delays_scenario(3, 2, initial_delay=1.0, max_delay=60.0)]

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        for turn in (1, 2):
            _play(answer, scenario, world, of=turn)

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        for turn in (1, 2):
            _require_retries(scenario, history, turn)
        for number, index, waited in _gaps(history):
            slept = sum(
                event["until"] - event["t"]
                for event in history
                if event.get("sleep") and event["of"] == 1 and _between(history, event, number)
            )
            if abs(slept - waited) > _TOLERANCE:
                _part(
                    index,
                    f"the {waited:.6g} s before retry {number} to be waited with the given sleep",
                    f"{slept:.6g} s of them were",
                )
        for (number, _, first), (_, index, second) in zip(_gaps(history, 1), _gaps(history, 2), strict=False):
            if abs(first - second) > _TOLERANCE:
                _part(
                    index,
                    f"retry {number} to wait as long with one random.Random({scenario['seed']}) as with another",
                    f"{first:.6g} s, then {second:.6g} s",
                )

    def describe(self, scenario: dict[str, Any]) -> str:
        return f"{_described(scenario)}; twice, with the same seed"


def _between(history: History, event: Event, number: int) -> bool:
    """Whether `event` lies between call `number` + 1 and the next, of the first turn."""
    calls, _ = _split(history)
    return calls[number][1]["until"] <= event["t"] <= event["until"] <= calls[number + 1][1]["t"]


_HERD_SIZE = 100
_STORMS = 3
"""A peak is chance. The calmest of three storms is over the limit by bad luck once in 10⁹ times."""


def _herd_scenario(retries: int, together: int = 1, seed: int = 1, **config: Any) -> dict[str, Any]:
    """`together`: that call of every client hangs until the server dies, and then they all fail at once."""
    config = {"initial_delay": 0.1, "max_delay": 10.0, "multiplier": 2.0, **config}
    return {
        "config": {**config, "max_attempts": together + retries + 2},
        "retries": retries,
        "together": together,
        "seed": seed,
    }


class SpreadsTheHerd(Check):
    """Of 100 clients that fail together, at most 25 come back within any initial_delay / 20; without jitter, all do."""

    hint = _HERD
    scenarios = st.builds(
        _herd_scenario,
        st.integers(1, 3),
        st.just(1),
        st.integers(0, 10_000),
        initial_delay=st.sampled_from((0.1, 1.0)),
        multiplier=st.sampled_from((1.5, 2.0, 3.0)),
    )
    examples = 2
    always: ClassVar = [
        _herd_scenario(1),
        _herd_scenario(3),
        _herd_scenario(1, together=6, max_delay=0.2),
    ]

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        for storm in range(1, _STORMS + 1):
            began = world.now
            starts = sorted(
                start
                for client in range(_HERD_SIZE)
                for start in _client(answer, scenario, random.Random(f"{scenario['seed']}/{storm}/{client}"), world)
            )
            peak, first = _peak(starts, scenario["config"]["initial_delay"] / 20)
            event = world.record(
                f"storm {storm}: {peak} retries from {first:.3f} s on", "failed", starts=starts, peak=peak
            )
            event.update(t=began, until=world.now)

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        window = scenario["config"]["initial_delay"] / 20
        all_of_them = _HERD_SIZE * scenario["retries"]
        retried = [len(event["starts"]) for event in history]
        if len(retried) != _STORMS or min(retried) < all_of_them:
            raise Mismatch(
                expected=f"{all_of_them} retries in each of {_STORMS} storms",
                observed=f"{', '.join(map(str, retried)) or 'none'}",
                at=len(history) - 1 if history else None,
            )
        peak, index, first = min(
            (_peak(event["starts"], window)[0], index, _peak(event["starts"], window)[1])
            for index, event in enumerate(history)
        )
        if peak > _HERD_SIZE / 4:
            raise Mismatch(
                expected=f"at most {_HERD_SIZE // 4} of {_HERD_SIZE} clients to retry within {1000 * window:g} ms",
                observed=f"{peak} did, {first:.3f} s after they failed, in the calmest of {len(history)} storms",
                at=index,
            )

    def describe(self, scenario: dict[str, Any]) -> str:
        config = ", ".join(f"{name}={value}" for name, value in scenario["config"].items())
        number = scenario["together"]
        when = "first call" if number == 1 else f"call number {number}"
        retries = _count_retries(scenario["retries"])
        return f"{config}: the {when} of {_HERD_SIZE} clients fails at one instant; {retries} each"


def _count_retries(number: int) -> str:
    return "1 retry" if number == 1 else f"{number} retries"


def _client(answer: Any, scenario: dict[str, Any], rng: random.Random, world: World) -> list[float]:
    """When one client's retries start, in seconds since the clients failed together.

    Clients do not meet, so they are run one after the other, each on its own time since its start.
    """
    dies_at = world.now + (0.0 if scenario["together"] == 1 else 1000.0)
    starts: list[float] = []
    calls = 0

    def fn() -> str:
        nonlocal calls
        calls += 1
        if calls == scenario["together"]:
            world.sleep(dies_at - world.now)
        elif calls > scenario["together"]:
            starts.append(round(world.now - dies_at, 9))
            if len(starts) >= scenario["retries"]:
                return "done"
        raise ConnectionResetError(f"call {calls}")

    config = BackoffConfig(**scenario["config"])
    try:
        answer(fn, config, sleep=world.sleep, rng=rng, clock=world.clock, deadline=None)
    except NotImplementedError:
        raise
    except Exception:
        return starts
    return starts


def _peak(starts: list[float], window: float) -> tuple[int, float]:
    """The most starts within `window` seconds, and the first of them."""
    most, since, low = 0, 0.0, 0
    for high, start in enumerate(starts):
        while start - starts[low] >= window:
            low += 1
        if high - low + 1 > most:
            most, since = high - low + 1, starts[low]
    return most, since
