"""The checks of 17.2.1: a circuit breaker, seen from the function that it calls and from what its callers get.

Invariant: every design that keeps the stated rules passes. A check judges one property and reaches it by ways that
other mistakes leave open: the breaker is opened by calls that all fail, waits are waited out with time to spare, and a
call marked as a *control* that already goes wrong ends the judgement, because another check speaks of it.

A scenario is a configuration and a list of steps (`_Player` plays them). A history has one event per call. `_follow`
replays it against `_Rules` in the order in which the calls began and ended, not in the planned order: an answer
that makes its callers wait for each other is judged by what it did.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from hypothesis import strategies as st

from graders.kit import Check, Event, History, Mismatch, World
from shared.resilience.contracts import BreakerConfig, CircuitOpen, State

REFERENCE = "shared.resilience.circuit_breaker"

_WINDOW = "Hint 1: the window"
_PERIOD = "Hint 2: the period"
_HALF_OPEN = "Hint 3: half-open"

_SETTLE = 0.125
"""Seconds after a thread of the driver was started, so that no later step happens at the same instant."""
_LONG = 1000.0
"""Seconds that no scenario reaches."""
_TOLERANCE = 0.001
"""Seconds around the end of the wait in which both answers are right, and the error allowed in `retry_after`."""

_ENDINGS: dict[str, type[BaseException]] = {
    "fail": ConnectionError,
    "ignored": KeyError,
    "interrupt": KeyboardInterrupt,
    "cancel": asyncio.CancelledError,
    "exit": SystemExit,
}
_IGNORED = (LookupError,)  # a base class of KeyError: an instance of a subclass is ignored too
_COUNTED = ("ok", "fail")

Step = dict[str, Any]


# Scenarios


def _scenario(steps: list[Step], **config: Any) -> dict[str, Any]:
    return {"config": config, "steps": steps}


def _call(ends: str = "ok", lasts: float = 0.0, **more: Any) -> Step:
    """One call by the main thread."""
    return {"do": "call", "ends": ends, "lasts": lasts, **more}


def _calls(*endings: str) -> list[Step]:
    return [_call(ends) for ends in endings]


def _start(ends: str, lasts: float, **more: Any) -> Step:
    """One call by a thread of its own, while the steps go on."""
    return {"do": "start", "ends": ends, "lasts": lasts, **more}


def _together(calls: int, ends: str = "ok", lasts: float = 1.0, **more: Any) -> Step:
    """Calls by threads of their own, all at one instant."""
    return {"do": "together", "calls": calls, "ends": ends, "lasts": lasts, **more}


def _open(limit: int = 10, lasts: float = 0.0) -> Step:
    """Failing calls until one is refused."""
    return {"do": "open", "limit": limit, "lasts": lasts}


_CLEAR: Step = {**_open(25), "quiet": True}
"""Opens the breaker at the end, so that breakers that share their window leave no results to the next check."""


def _pass(seconds: float) -> Step:
    return {"do": "pass", "seconds": seconds}


def _until(seconds: float) -> Step:
    """Let time pass until `seconds` after the last failure: that is, of the wait."""
    return {"do": "until", "seconds": seconds}


def _look(*states: State) -> Step:
    """Read `state`; any of `states` is right."""
    return {"do": "look", "states": [state.name for state in states]}


_CONTROL: dict[str, Any] = {"control": True}
_NEW: Step = {"do": "new"}
"""Go on with another breaker, with the same configuration."""


def _described(scenario: dict[str, Any]) -> str:
    config = ", ".join(f"{name}={value}" for name, value in scenario["config"].items() if value != _LONG)
    words = [_step_in_words(step) for step in scenario["steps"]]
    grouped = [(word, len(list(group))) for word, group in itertools.groupby(word for word in words if word)]
    return f"{config}: " + " → ".join(word if count == 1 else f"{word} ×{count}" for word, count in grouped)


def _step_in_words(step: Step) -> str:
    if step.get("quiet"):
        return ""
    match step["do"]:
        case "call":
            return _ending_in_words(step)
        case "start":
            return f"a thread starts a call ({_ending_in_words(step)})"
        case "together":
            return f"{step['calls']} callers at once ({_ending_in_words(step)})"
        case "open":
            return "calls fail until one is refused"
        case "pass":
            return f"{step['seconds']:g} s pass"
        case "until":
            return f"at {step['seconds']:g} s of the wait"
        case "new":
            return "a new breaker"
    return ""


def _ending_in_words(step: Step) -> str:
    words = step["ends"] if step["ends"] in _COUNTED else f"raise {_ENDINGS[step['ends']].__name__}"
    return f"{words} after {step['lasts']:g} s" if step["lasts"] else words


# Beside the answer


class _Player:
    """Plays the steps of a scenario on one breaker and records every call as one event.

    Fields of a call's event: `call` (its number); `role` ("opening", "clearing", "control" or ""); `ends`, as in its
    step; `crowd`, others came at its instant; `refused`, it was rejected or did not run; `circuit_open`, CircuitOpen
    was raised, with its `retry_after`; where the function ran, `began` and `ended` (seconds). `order` numbers
    beginnings and refusals, `end_order` ends, in one count over all calls.
    """

    def __init__(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        self._world = world
        self._make = lambda: answer(BreakerConfig(ignored=_IGNORED, **scenario["config"]), world.clock)
        self._breaker = self._make()
        self._numbers = itertools.count(1)
        self._order = itertools.count()
        self._failed_at = 0.0

    def play(self, steps: list[Step]) -> None:
        for step in steps:
            getattr(self, f"_{step['do']}")(step)
        self._world.join()

    def _make_call(self, step: Step, number: int = 0, role: str = "") -> Event:
        number = number or next(self._numbers)
        mark: dict[str, Any] = {
            "call": number,
            "role": role or ("control" if step.get("control") else ""),
            "ends": step["ends"],
            "crowd": step.get("calls", 1) > 1,
            "circuit_open": False,
        }
        function = self._function(step, mark)

        def call() -> None:
            try:
                self._breaker.call(function)
            except CircuitOpen as error:
                mark.update(circuit_open=True, retry_after=_number(error.retry_after))
                raise

        event = self._world.call(f"call {number} ({_ending_in_words(step)})", call, catch=BaseException)
        refused = mark["circuit_open"] or "began" not in mark
        if refused:
            mark["order"] = next(self._order)
        kind = "rejected" if refused else "accepted" if step["ends"] == "ok" else "failed"
        event.update(mark, refused=refused, kind=kind)
        return event

    def hand_through(self, scenario: dict[str, Any]) -> None:
        """One call with arguments. Its event tells with which it was `made`, and whether the outcome was its `own`."""
        value = object()
        error = _ENDINGS.get(scenario["ends"], Exception)("from the function")
        made: list[Any] = []
        mark: dict[str, Any] = {"made": made, "own": False, "circuit_open": False}

        def function(*args: Any, **kwargs: Any) -> object:
            made.append([list(args), kwargs])
            if scenario["ends"] == "ok":
                return value
            raise error

        def call() -> object:
            try:
                got = self._breaker.call(function, *scenario["args"], **scenario["kwargs"])
            except BaseException as raised:
                mark.update(own=raised is error, circuit_open=isinstance(raised, CircuitOpen))
                raise
            mark["own"] = got is value
            return got

        self._world.call("the call", call, catch=BaseException).update(mark)

    def _function(self, step: Step, mark: dict[str, Any]) -> Callable[[], None]:
        def function() -> None:
            mark.update(began=self._world.now, order=next(self._order))
            if step["lasts"]:
                self._world.sleep(step["lasts"])
            mark.update(ended=self._world.now, end_order=next(self._order))
            if step["ends"] != "ok":
                raise _ENDINGS[step["ends"]](f"from call {mark['call']}")

        return function

    def _start(self, step: Step) -> None:
        self._together({**step, "calls": 1})

    def _together(self, step: Step) -> None:
        for _ in range(step["calls"]):
            number = next(self._numbers)
            self._world.start(self._make_call, step, number, name=f"caller {number}")
        self._world.sleep(_SETTLE)

    def _call(self, step: Step, role: str = "") -> Event:
        event = self._make_call(step, role=role)
        if event["ends"] == "fail" and not event["refused"]:
            self._failed_at = event["ended"]
        return event

    def _open(self, step: Step) -> None:
        for _ in range(step["limit"]):
            role = "clearing" if step.get("quiet") else "opening"
            if self._call({"ends": "fail", "lasts": step["lasts"]}, role)["refused"]:
                return

    def _pass(self, step: Step) -> None:
        self._world.sleep(step["seconds"])

    def _until(self, step: Step) -> None:
        self._world.sleep(max(0.0, self._failed_at + step["seconds"] - self._world.now))

    def _new(self, step: Step) -> None:
        self._world.record("a new breaker", new=True, order=next(self._order))
        self._breaker = self._make()

    def _look(self, step: Step) -> None:
        state = self._breaker.state
        shown = state.name if isinstance(state, State) else f"{_shown(state)}, which is no State"
        self._world.record(f"state reads {shown}", states=step["states"], state=shown)


def _shown(value: Any) -> str:
    return repr(value) if type(value) in (str, int, bool, type(None)) else f"<{type(value).__name__}>"


def _number(value: Any) -> float | str:
    """`value` as a finite number, or its type's name."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return f"<{type(value).__name__}>"
    return number if math.isfinite(number) else str(number)


# In the examiner


class _ControlFailed(Exception):
    """A call that only prepares the property went another way: this check has nothing to say."""


@dataclass
class _Rules:
    """The rules of the breaker, told what happened; `why` says the present state in words."""

    config: BreakerConfig
    state: State = State.CLOSED
    opened_at: float = 0.0
    why: str = ""
    period: int = 0
    permits: int = 0
    successes: int = 0
    given_back: int = 0
    late: list[int] = field(default_factory=list)
    window: list[tuple[bool, bool]] = field(default_factory=list)
    admitted: dict[int, int] = field(default_factory=dict)

    def rejects(self, now: float) -> bool | None:
        """Whether a call must be rejected now; None where both are right."""
        if self.state is State.OPEN:
            left = self.opened_at + self.config.wait_duration - now
            return None if abs(left) <= _TOLERANCE else left > 0
        return self.state is State.HALF_OPEN and self.permits == 0

    def began(self, call: int, now: float) -> None:
        if self.state is State.OPEN and not self.rejects(now):
            self._enter(State.HALF_OPEN)
        if self.state is State.HALF_OPEN:
            self.permits -= 1
        self.admitted[call] = self.period

    def ended(self, call: int, ends: str, lasted: float, now: float) -> None:
        if self.admitted[call] != self.period:
            self.late.append(call)
            return
        if ends not in _COUNTED:
            self.permits += 1
            self.given_back += 1
            return
        failed, slow = ends == "fail", lasted > self.config.slow_call_threshold
        if self.state is State.CLOSED:
            self.window = [*self.window, (failed, slow)][-self.config.window_size :]
            if len(self.window) >= self._minimum and self._over_a_limit():
                self.open(now, f"{self._rates()}")
        elif failed or slow:
            self.open(now, f"a probe {'failed' if failed else 'was slow'}")
        else:
            self.successes += 1
            if self.successes == self.config.permitted_calls_in_half_open:
                self._enter(State.CLOSED)

    def open(self, now: float, why: str) -> None:
        self._enter(State.OPEN)
        self.opened_at = now
        self.why = why

    def words(self, now: float) -> str:
        """Why a call must run, or be rejected, now."""
        late = (
            f"; {' and '.join(f'call {call}' for call in self.late)} ended late and must not count" if self.late else ""
        )
        return self._state_in_words(now) + late

    def _state_in_words(self, now: float) -> str:
        if self.state is State.OPEN:
            left = self.opened_at + self.config.wait_duration - now
            if left <= 0:
                return f"the wait of {self.config.wait_duration:g} s is over, so it is a probe"
            return f"OPEN since {self.opened_at:g} s ({self.why}), {left:.6g} s of the wait are left"
        if self.state is State.HALF_OPEN:
            total = self.config.permitted_calls_in_half_open
            back = f" ({self.given_back} given back)" if self.given_back else ""
            return f"HALF_OPEN, {self.permits} of {total} permits {'is' if self.permits == 1 else 'are'} left{back}"
        if len(self.window) < self._minimum:
            return f"CLOSED, no rate before {_count(self._minimum, 'result')} and there {_are(len(self.window))}"
        return f"CLOSED, {self._rates()}"

    def _enter(self, state: State) -> None:
        self.state = state
        self.period += 1
        self.permits = self.config.permitted_calls_in_half_open
        self.successes = 0
        self.given_back = 0
        self.window = []

    @property
    def _minimum(self) -> int:
        return min(self.config.min_calls_to_open, self.config.window_size)

    @property
    def _bad(self) -> tuple[int, int]:
        return sum(failed for failed, _ in self.window), sum(slow for _, slow in self.window)

    def _over_a_limit(self) -> bool:
        failed, slow = self._bad
        calls = len(self.window)
        return failed / calls >= self.config.error_rate or slow / calls >= self.config.slow_call_rate

    def _rates(self) -> str:
        failed, slow = self._bad
        words = f"{failed} of the last {len(self.window)} failed, the limit is {self.config.error_rate:.0%}"
        if slow:
            words += f"; {slow} of {len(self.window)} were slow, the limit is {self.config.slow_call_rate:.0%}"
        return words


def _are(number: int) -> str:
    return f"is {number}" if number == 1 else f"are {number}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _demand_all(steps: list[Step], history: History) -> None:
    """Raise Mismatch unless every step of the scenario is there, each call with its outcome.

    An answer shares its process with the recorder, so a record may be made up or cut short.
    """
    calls = {event["call"]: event for event in history if "call" in event}
    looks = [event for event in history if "states" in event]
    number = 0
    for step in steps:
        match step["do"]:
            case "call" | "start":
                number += 1
                _demand(calls, number, step["ends"])
            case "together":
                for _ in range(step["calls"]):
                    number += 1
                    _demand(calls, number, step["ends"])
            case "open":
                for _ in range(step["limit"]):
                    number += 1
                    if _demand(calls, number, "fail")["refused"]:
                        break
    first = calls[1]
    if first["refused"]:
        observed = f"{_name(first)}: {_as_rejected(first)}"
        raise Mismatch(expected="a new breaker to let its first call run", observed=observed, at=history.index(first))
    planned = [step["states"] for step in steps if step["do"] == "look"], sum(step["do"] == "new" for step in steps)
    recorded = [look["states"] for look in looks], sum("new" in event for event in history)
    if recorded != planned or len(calls) != number:
        raise Mismatch(expected=f"a record of {_count(number, 'call')} and of every look", observed="another record")


def _demand(calls: dict[int, Event], number: int, ends: str) -> Event:
    event = calls.get(number, {})
    whole = {"outcome", "until", "refused", "order", "circuit_open"} <= event.keys()
    if not whole or event["ends"] != ends or not (event["refused"] or {"began", "ended"} <= event.keys()):
        raise Mismatch(expected=f"a record of call {number} ({ends}) and its outcome", observed="none")
    return event


def _follow(scenario: dict[str, Any], history: History, *, strict_in: State | None = None) -> bool:
    """Raise Mismatch at the first call that breaks the rules; in state `strict_in`, also at a wrong way to refuse.

    False where a control went another way, and the rest says nothing.
    """
    rules = _Rules(BreakerConfig(**scenario["config"]))
    for moment, index in _moments(history):
        event = history[index]
        try:
            if moment == "new":
                rules = _Rules(BreakerConfig(**scenario["config"]))
            elif moment == "ended":
                rules.ended(event["call"], event["ends"], event["ended"] - event["began"], event["ended"])
            elif event["role"] == "opening":
                _follow_opening(rules, event, history, index)
                _expect_circuit_open(rules, event, index, strict_in)
            elif moment == "began":
                _expect_run(rules, event, index)
            else:
                _expect_rejection(rules, event, index)
                _expect_circuit_open(rules, event, index, strict_in)
        except _ControlFailed:
            return False
    return True


def _moments(history: History) -> list[tuple[str, int]]:
    """Beginnings, ends and refusals, with the index of their event, as they happened.

    Who of several callers at one instant came first is not told by the order in which they noted it down, so their
    refusals come after all that began at that instant.
    """
    found: list[tuple[float, bool, int, str, int]] = []
    for index, event in enumerate(history):
        if "new" in event:
            found.append((event["t"], False, event["order"], "new", index))
        elif "call" not in event or event["role"] == "clearing":
            continue
        elif event["refused"]:
            found.append((event["until"], event["crowd"], event["order"], "refused", index))
        else:
            found.append((event["began"], False, event["order"], "began", index))
            found.append((event["ended"], False, event["end_order"], "ended", index))
    return [(moment, index) for *_, moment, index in sorted(found)]


def _follow_opening(rules: _Rules, event: Event, history: History, index: int) -> None:
    """How many failures it takes is another check's business; that it takes so many that it never opens is not."""
    if event["refused"]:
        failed_at = _failed_at(history, index)
        if failed_at is not None:
            rules.open(failed_at, "every call failed")
        return
    rules.began(event["call"], event["began"])
    following = history[index + 1] if index + 1 < len(history) else {}
    if following.get("role") != "opening":
        calls = sum(1 for earlier in history[: index + 1] if earlier.get("role") == "opening")
        raise Mismatch(
            expected=f"the breaker to open before {_count(calls, 'call')} in a row had failed",
            observed=f"all {calls} ran, none was rejected",
            at=index,
        )


def _failed_at(history: History, index: int) -> float | None:
    """When the last failing call of the main thread before event `index` ended: it opened the breaker."""
    ends = [
        event["ended"]
        for event in history[:index]
        if event["who"] == "main" and event.get("ends") == "fail" and not event["refused"]
    ]
    return ends[-1] if ends else None


def _expect_run(rules: _Rules, event: Event, index: int) -> None:
    now = event["began"]
    if rules.rejects(now):
        _part(event, index, f"{_name(event)} to be rejected: {rules.words(now)}", f"it ran, at {now:g} s")
    rules.began(event["call"], now)


def _expect_rejection(rules: _Rules, event: Event, index: int) -> None:
    now = event["until"]
    if rules.rejects(now) is False:
        _part(event, index, f"{_name(event)} to run: {rules.words(now)}", f"{_as_rejected(event)}, at {now:g} s")


def _expect_circuit_open(rules: _Rules, event: Event, index: int, state: State | None) -> None:
    """A call that is refused in `state` is not made, and its caller is told so."""
    if not event["refused"] or rules.state is not state:
        return
    words = rules.words(event["until"])
    if "began" in event:
        _part(event, index, f"{_name(event)} not to be made: {words}", "the function was called all the same")
    if not event["circuit_open"]:
        _part(event, index, f"CircuitOpen to be raised for {_name(event)}: {words}", _as_rejected(event))


def _as_rejected(event: Event) -> str:
    if event["circuit_open"]:
        return "it was rejected"
    return f"it did not run and {_raised(event) if event['outcome'] == 'raised' else 'returned a value'}"


def _raised(event: Event) -> str:
    return f"raised {event['error']}" + (f" ({event['message']})" if event["message"] else "")


def _name(event: Event) -> str:
    return f"call {event['call']}"


def _part(event: Event, index: int, expected: str, observed: str) -> NoReturn:
    if event["role"] == "control":
        raise _ControlFailed
    raise Mismatch(expected=expected, observed=observed, at=index)


class _BreakerCheck(Check):
    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        _Player(answer, scenario, world).play(scenario["steps"])

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        _demand_all(scenario["steps"], history)
        self.judge_calls(scenario, history)

    def judge_calls(self, scenario: dict[str, Any], history: History) -> None:
        """Judge a history that holds every call of the scenario, with its outcome."""
        _follow(scenario, history)

    def describe(self, scenario: dict[str, Any]) -> str:
        return _described(scenario)


# The checks


def _results_scenario(endings: list[str], *of_another_breaker: str, **config: Any) -> dict[str, Any]:
    before = [*_calls(*of_another_breaker), _NEW] if of_another_breaker else []
    return _scenario([*before, *_calls(*endings), _CLEAR], **config)


@st.composite
def _any_results(draw: st.DrawFn) -> dict[str, Any]:
    """Fast calls, no more than the window holds, so that nothing is forgotten yet."""
    window = draw(st.integers(1, 8))
    endings = draw(st.lists(st.sampled_from(_COUNTED), min_size=1, max_size=window))
    return _results_scenario(
        [*endings, "fail"],
        error_rate=draw(st.sampled_from((0.25, 0.5, 0.75, 1.0))),
        window_size=window,
        min_calls_to_open=draw(st.integers(1, 10)),
    )


class OpensOnErrorRate(_BreakerCheck):
    """It opens as soon as the error rate is at or over its limit, judged after every result from the minimum on."""

    hint = _WINDOW
    scenarios = _any_results()
    examples = 30
    always = (
        _results_scenario(["fail"] * 4, window_size=10, min_calls_to_open=3),
        _results_scenario(["fail"] * 3, "fail", "fail", window_size=10, min_calls_to_open=3),
        _results_scenario(["fail"] * 5, window_size=4, min_calls_to_open=10),
        _results_scenario(["ok", "fail", "ok", "fail", "fail"], window_size=10, min_calls_to_open=4),
        _results_scenario(["fail", "fail", "fail", "ok", "ok"], window_size=10, min_calls_to_open=4),
        _results_scenario(["ok", "ok", "ok", "fail", "fail", "ok", "ok"], window_size=10, min_calls_to_open=2),
    )


_THRESHOLD = 2.0
_DURATIONS = {"fast": 0.25, "at the threshold": _THRESHOLD, "slow": 2.25}


@st.composite
def _fast_then_any_durations(draw: st.DrawFn) -> dict[str, Any]:
    """The minimum is reached by good calls, so that only the rates decide."""
    minimum = draw(st.integers(1, 3))
    calls = draw(
        st.lists(
            st.tuples(st.sampled_from(_COUNTED), st.sampled_from(tuple(_DURATIONS.values()))), min_size=1, max_size=6
        )
    )
    return _slow_scenario(
        minimum,
        [_call(ends, lasts) for ends, lasts in calls],
        error_rate=draw(st.sampled_from((0.5, 0.75, 1.0))),
        slow_call_rate=draw(st.sampled_from((0.5, 0.75, 1.0))),
    )


def _slow_scenario(minimum: int, calls: list[Step], **rates: float) -> dict[str, Any]:
    return _scenario(
        [*_calls(*["ok"] * minimum), *calls, _call("fail"), _CLEAR],
        **rates,
        slow_call_threshold=_THRESHOLD,
        window_size=20,
        min_calls_to_open=minimum,
        wait_duration=_LONG,
    )


class OpensOnSlowCalls(_BreakerCheck):
    """It opens on slow calls alone; slow is strictly over the threshold, and slow and failed are never added up."""

    hint = _WINDOW
    scenarios = _fast_then_any_durations()
    examples = 30
    always = (
        _slow_scenario(1, [_call("ok", 2.25)], error_rate=1.0, slow_call_rate=0.5),
        _slow_scenario(1, [_call("ok", 2.0)] * 3, error_rate=1.0, slow_call_rate=0.5),
        _slow_scenario(2, [_call("fail"), _call("ok", 2.25)], error_rate=0.5, slow_call_rate=0.5),
        _slow_scenario(1, [_call("ok", 2.25)] * 2, error_rate=0.5, slow_call_rate=1.0),
        _slow_scenario(1, [_call("fail", 2.25)] * 2, error_rate=1.0, slow_call_rate=0.5),
        _slow_scenario(1, [_call("fail", 2.25)] * 2, error_rate=0.5, slow_call_rate=1.0),
    )


def _window_scenario(window: int, bad: Step, pattern: str) -> dict[str, Any]:
    """`pattern` is a string of . (good) and x (bad). An odd window at 50 % is never exactly at its limit."""
    return _scenario(
        [*[_call()] * window, *[bad if mark == "x" else _call() for mark in pattern], _call("fail"), _CLEAR],
        error_rate=0.5,
        slow_call_rate=0.5,
        slow_call_threshold=_THRESHOLD,
        window_size=window,
        min_calls_to_open=1,
        wait_duration=_LONG,
    )


@st.composite
def _longer_than_the_window(draw: st.DrawFn) -> dict[str, Any]:
    pattern = draw(st.text(alphabet=".x", min_size=3, max_size=12))
    return _window_scenario(draw(st.sampled_from((3, 5))), _call("fail"), pattern)


class WindowForgets(_BreakerCheck):
    """Only the last `window_size` results count: older ones are forgotten, one by one."""

    hint = _WINDOW
    scenarios = _longer_than_the_window()
    examples = 30
    always = (
        _window_scenario(3, _call("fail"), "xx"),
        _window_scenario(3, _call("fail"), "x..x..x.."),
        _window_scenario(3, _call("ok", 2.25), "x..x..x.."),
        _window_scenario(5, _call("fail"), "xx...x"),
        _window_scenario(5, _call("fail"), "xx..x"),
    )


def _half_open_config(permitted: int, **more: Any) -> dict[str, Any]:
    return {
        "window_size": 8,
        "min_calls_to_open": 4,
        "slow_call_threshold": _LONG,
        "wait_duration": 10.0,
        "permitted_calls_in_half_open": permitted,
        **more,
    }


_RECOVERING = [_open(), _pass(15.0)]
"""Open, and wait with time to spare: the next call is a probe."""


def _wait_scenario(
    wait: float, offsets: list[float], *, late: bool = False, probe_fails: bool = False
) -> dict[str, Any]:
    """One failure is long past when the breaker opens. `late`: a call of before fails halfway through the wait."""
    waiting = [step for offset in sorted(offsets) for step in (_until(offset * wait), _call("fail"))]
    waiting += [_until(wait - 2 * _TOLERANCE), _call("fail"), _until(wait + 2 * _TOLERANCE)]
    before = [_start("fail", 2.0 + wait / 2)] if late else []
    after = [_call("fail"), _call(), *waiting[:-1]] if probe_fails else [_call()]
    return _scenario([*before, _open(lasts=0.5), *waiting, *after], **_half_open_config(1, wait_duration=wait))


def _late_probe_scenario(wait: float, late: str) -> dict[str, Any]:
    """One of two probes fails, and it opens again; the other probe ends halfway through that wait."""
    probes = [_pass(wait + 5.0), _start(late, wait / 2, **_CONTROL), _call("fail", **_CONTROL)]
    waiting = [_until(wait / 4), _call(), _until(wait - 2 * _TOLERANCE), _call("fail"), _until(wait + 2 * _TOLERANCE)]
    return _scenario([_open(lasts=0.5), *probes, *waiting, _call()], **_half_open_config(2, wait_duration=wait))


class OpenRejectsForTheWait(_BreakerCheck):
    """While open it raises CircuitOpen without calling, for exactly the wait, and says how much of it is left."""

    hint = _PERIOD
    scenarios = st.builds(
        _wait_scenario,
        st.sampled_from((8.0, 30.0, 60.0)),
        st.lists(st.sampled_from([n / 16 for n in range(1, 16)]), max_size=4, unique=True),
        late=st.booleans(),
        probe_fails=st.booleans(),
    )
    examples = 15
    always = (
        _wait_scenario(30.0, []),
        _wait_scenario(30.0, [0.25, 0.75]),
        _wait_scenario(30.0, [], late=True),
        _wait_scenario(30.0, [0.25], probe_fails=True),
        _late_probe_scenario(30.0, "fail"),
        _late_probe_scenario(30.0, "ok"),
    )

    def judge_calls(self, scenario: dict[str, Any], history: History) -> None:
        if _follow(scenario, history, strict_in=State.OPEN):
            self._judge_retry_after(scenario, history)

    def _judge_retry_after(self, scenario: dict[str, Any], history: History) -> None:
        wait = scenario["config"]["wait_duration"]
        for index, event in enumerate(history):
            failed_at = _failed_at(history, index)
            if event.get("circuit_open") and failed_at is not None:
                left = failed_at + wait - event["until"]
                told = event["retry_after"]
                if not isinstance(told, float) or abs(told - left) > _TOLERANCE:
                    told_words = f"{told:g}" if isinstance(told, float) else told
                    raise Mismatch(
                        expected=f"retry_after to be what is left of the wait of {wait:g} s: {left:g} s",
                        observed=f"retry_after = {told_words}",
                        at=index,
                    )


def _probes_scenario(permitted: int, extra: int, rounds: int) -> dict[str, Any]:
    """Every half-open period but the last ends with all its probes failing."""
    steps = [*_RECOVERING]
    for _ in range(rounds - 1):
        steps += [_together(permitted + extra, "fail"), _pass(15.0)]
    return _scenario([*steps, _together(permitted + extra)], **_half_open_config(permitted, min_calls_to_open=2))


class HalfOpenAdmitsPermittedCalls(_BreakerCheck):
    """Half-open lets exactly the permitted number of calls through, in total, each time, whoever comes at once."""

    hint = _HALF_OPEN
    scenarios = st.builds(_probes_scenario, st.integers(1, 3), st.integers(1, 2), st.integers(1, 2))
    examples = 1
    interleavings = 20
    always = (
        _probes_scenario(1, 1, 1),
        _probes_scenario(2, 2, 1),
        _probes_scenario(1, 1, 2),
        _scenario(
            [*_RECOVERING, _start("ok", 1.0), _start("ok", 8.0), _pass(2.0), *_calls("ok", "ok")],
            **_half_open_config(2),
        ),
    )

    def schedules(self, scenario: dict[str, Any]) -> int:
        together = any(step["do"] == "together" for step in scenario["steps"])
        return self.interleavings if together else 1

    def judge_calls(self, scenario: dict[str, Any], history: History) -> None:
        _follow(scenario, history, strict_in=State.HALF_OPEN)


def _probe_results_scenario(permitted: int, good: int, bad: Step | None) -> dict[str, Any]:
    """`good` probes succeed; then `bad` and a call at once; else, closed, calls of which one fails."""
    after = [bad, _call()] if bad else _calls("ok", "ok", "ok", "fail", "ok", "ok")
    config = _half_open_config(permitted, slow_call_threshold=_THRESHOLD)
    return _scenario([*_RECOVERING, *_calls(*["ok"] * good), *after], **config)


def _empty_window_scenario(permitted: int) -> dict[str, Any]:
    """Neither the failures of before nor the probes are in the window when it has closed."""
    return _scenario([*_RECOVERING, *_calls(*["ok"] * permitted), _open()], **_half_open_config(permitted))


def _second_half_open_scenario(permitted: int, good_at_first: int) -> dict[str, Any]:
    """Good probes of a half-open period that ended badly say nothing in the next: there all are needed again."""
    first = [*[_call(**_CONTROL)] * good_at_first, _call("fail", **_CONTROL), _pass(15.0)]
    second = [*[_call(**_CONTROL)] * (permitted - 1), _call("fail", **_CONTROL), _call()]
    return _scenario([*_RECOVERING, *first, *second], **_half_open_config(permitted))


@st.composite
def _any_probe_results(draw: st.DrawFn) -> dict[str, Any]:
    permitted = draw(st.integers(1, 4))
    bad = draw(st.sampled_from((None, _call("fail"), _call("ok", 2.25), _call("fail", 2.25))))
    return _probe_results_scenario(permitted, permitted if bad is None else draw(st.integers(0, permitted - 1)), bad)


class HalfOpenDecides(_BreakerCheck):
    """When all probes succeed it closes, with an empty window; when one fails or is slow, it opens again."""

    hint = _HALF_OPEN
    scenarios = _any_probe_results()
    examples = 20
    always = (
        _probe_results_scenario(1, 1, None),
        _probe_results_scenario(3, 3, None),
        _probe_results_scenario(3, 0, _call("fail")),
        _probe_results_scenario(3, 2, _call("fail")),
        _probe_results_scenario(3, 0, _call("ok", 2.25)),
        _probe_results_scenario(3, 2, _call("ok", 2.25)),
        *(_empty_window_scenario(permitted) for permitted in (1, 3, 6)),
        _second_half_open_scenario(2, 1),
        _second_half_open_scenario(3, 0),
    )

    def judge_calls(self, scenario: dict[str, Any], history: History) -> None:
        _follow(scenario, history)
        probes = [index for index, event in enumerate(history) if event.get("role") == ""]
        if history[-1].get("role") == "opening":
            second = probes[-1] + 1
            _judge_same_number(
                history[:second], history[second:], "again after it has closed, as at first", len(history) - 1
            )


_UNCOUNTED = tuple(ends for ends in _ENDINGS if ends not in _COUNTED)


def _uncounted_closed(ends: str, lasts: float) -> dict[str, Any]:
    """Failures open a breaker that has seen many of them just as they open a new one."""
    config = _half_open_config(1, slow_call_threshold=_THRESHOLD, wait_duration=_LONG)
    return _scenario([_open(), _NEW, *[_call(ends, lasts)] * 8, _open()], **config)


def _uncounted_half_open(ends: str, lasts: float, permitted: int) -> dict[str, Any]:
    """More of them than there are permits."""
    probes = [_call(ends, lasts, **_CONTROL), *[_call(ends, lasts)] * permitted]
    return _scenario([*_RECOVERING, *probes], **_half_open_config(permitted, slow_call_threshold=_THRESHOLD))


def _uncounted_probe(ends: str, lasts: float) -> dict[str, Any]:
    """One of them gives back the only permit and no other: half-open goes on."""
    probes = [_start(ends, lasts, **_CONTROL), _call(**_CONTROL), _pass(4.0), _start("ok", 2.0), _call()]
    return _scenario([*_RECOVERING, *probes], **_half_open_config(1, slow_call_threshold=_THRESHOLD))


class IgnoredErrorsGivePermitsBack(_BreakerCheck):
    """Ignored errors and cancellations (BaseException) count nowhere, and give their half-open permit back."""

    hint = _HALF_OPEN
    scenarios = st.one_of(
        st.builds(_uncounted_closed, st.sampled_from(_UNCOUNTED), st.sampled_from((0.0, 2.25))),
        st.builds(_uncounted_half_open, st.sampled_from(_UNCOUNTED), st.sampled_from((0.0, 2.25)), st.integers(1, 3)),
        st.builds(_uncounted_probe, st.sampled_from(_UNCOUNTED), st.sampled_from((1.0, 2.25))),
    )
    examples = 12
    always = (
        *(_uncounted_half_open(ends, 0.0, 1) for ends in _UNCOUNTED),
        *(_uncounted_probe(ends, lasts) for ends in _UNCOUNTED for lasts in (1.0, 2.25)),
        *(_uncounted_closed(ends, lasts) for ends in _UNCOUNTED for lasts in (0.0, 2.25)),
    )

    def judge_calls(self, scenario: dict[str, Any], history: History) -> None:
        if _NEW in scenario["steps"]:
            _judge_second_breaker(history, "as without them")
        else:
            _follow(scenario, history)


def _late_into_half_open(late: str) -> dict[str, Any]:
    """A call admitted while closed ends while the only probe is under way."""
    before = [_start(late, 30.0), *_RECOVERING, _start("ok", 20.0, **_CONTROL), _call(**_CONTROL)]
    return _scenario([*before, _pass(17.0), _call(), _pass(5.0), _call()], **_half_open_config(1))


def _late_into_next_half_open(late: str) -> dict[str, Any]:
    """A probe of the first half-open period ends in the second, while the last of its two probes is under way."""
    first = [*_RECOVERING, _start(late, 30.0, **_CONTROL), _call("fail", **_CONTROL), _call(**_CONTROL), _pass(15.0)]
    second = [_call(**_CONTROL), _start("ok", 20.0, **_CONTROL), _call(**_CONTROL)]
    return _scenario([*first, *second, _pass(17.0), _call(), _pass(5.0), _call()], **_half_open_config(2))


def _late_into_next_closed(late: int) -> dict[str, Any]:
    """Calls admitted while closed fail after the breaker has opened, probed and closed again."""
    before = [*[_start("fail", 30.0)] * late, *_RECOVERING, *[_call(**_CONTROL)] * 3]
    return _scenario([*before, _pass(20.0), _call()], **_half_open_config(1))


class LateResultsDoNotVote(_BreakerCheck):
    """A result counts only in the period that admitted its call: later it neither votes nor returns a permit."""

    hint = _PERIOD
    scenarios = st.one_of(
        st.builds(_late_into_half_open, st.sampled_from(("ok", *_ENDINGS))),
        st.builds(_late_into_next_half_open, st.sampled_from(("ok", *_ENDINGS))),
        st.builds(_late_into_next_closed, st.integers(3, 6)),
    )
    examples = 6
    always = (
        *(_late_into_half_open(late) for late in ("fail", "ok", "ignored", "interrupt")),
        *(_late_into_next_half_open(late) for late in ("fail", "ok", "ignored", "interrupt")),
        _late_into_next_closed(5),
    )


class OriginalExceptionReachesTheCaller(_BreakerCheck):
    """The caller gets the function's own value or its own exception, and the function gets the caller's arguments."""

    hint = _PERIOD
    scenarios = st.fixed_dictionaries(
        {
            "half_open": st.booleans(),
            "ends": st.sampled_from(("ok", *_ENDINGS)),
            "args": st.lists(st.integers(0, 9), max_size=3),
            "kwargs": st.dictionaries(st.sampled_from(("user", "limit", "retries")), st.integers(0, 9), max_size=2),
        }
    )
    examples = 15
    always = tuple(
        {"half_open": half_open, "ends": ends, "args": [1, 2], "kwargs": {"user": 3}}
        for half_open in (False, True)
        for ends in ("ok", *_ENDINGS)
    )

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        player = _Player(answer, {"config": _half_open_config(1)}, world)
        if scenario["half_open"]:
            player.play(_RECOVERING)
        player.hand_through(scenario)

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        event = history[-1]
        at = len(history) - 1
        if "outcome" not in event or (event["own"] and not event["made"]):
            raise Mismatch(expected="a record of the call and its outcome", observed="none", at=at)
        if event["circuit_open"] and scenario["half_open"]:
            return
        given = _call_in_words(scenario["args"], scenario["kwargs"])
        made = [_call_in_words(args, kwargs) for args, kwargs in event["made"]]
        if made != [given]:
            none = f"none: the breaker {_raised(event)}" if event["outcome"] == "raised" else "none"
            raise Mismatch(expected=f"one call of the function, {given}", observed=", ".join(made) or none, at=at)
        if not event["own"]:
            returned = scenario["ends"] == "ok"
            what = "the value that the function returned" if returned else "the very exception that the function raised"
            raise Mismatch(expected=f"the caller to get {what}", observed=f"it got {_outcome_in_words(event)}", at=at)

    def describe(self, scenario: dict[str, Any]) -> str:
        ends = scenario["ends"]
        what = "returns" if ends == "ok" else f"raises {_ENDINGS[ends].__name__}"
        who = "a probe" if scenario["half_open"] else "a call"
        return f"{who}, {_call_in_words(scenario['args'], scenario['kwargs'])}, that {what}"


def _outcome_in_words(event: Event) -> str:
    if event["outcome"] == "raised":
        return f"another exception, {event['error']}: {event['message']}"
    return f"{event['value']!r}"


def _call_in_words(args: list[Any], kwargs: dict[str, Any]) -> str:
    return f"fn({', '.join([*map(str, args), *(f'{name}={value}' for name, value in sorted(kwargs.items()))])})"


def _parallel_scenario(callers: int, half_open: bool) -> dict[str, Any]:
    steps = [*(_RECOVERING if half_open else []), _together(callers), _pass(2.0), _CLEAR]
    return _scenario(steps, **_half_open_config(callers))


class CallsRunInParallel(_BreakerCheck):
    """Calls, and probes, run side by side: nothing is held while the function runs."""

    hint = _PERIOD
    scenarios = st.builds(_parallel_scenario, st.integers(2, 6), st.booleans())
    examples = 4
    always = (_parallel_scenario(2, False), _parallel_scenario(2, True))

    def judge_calls(self, scenario: dict[str, Any], history: History) -> None:
        for index, event in enumerate(history):
            if event.get("crowd") and not event["refused"] and event["began"] > event["t"]:
                raise Mismatch(
                    expected=f"{_name(event)} to begin at {event['t']:g} s, when it was made, beside the others",
                    observed=f"it began at {event['began']:g} s: it waited for another call to end",
                    at=index,
                )


def _at_once_scenario(callers: int) -> dict[str, Any]:
    config = _half_open_config(1, error_rate=0.9, min_calls_to_open=callers + 1)
    return _scenario([_open(12), _NEW, _together(callers, "fail"), _pass(2.0), _open(12)], **config)


def _probes_at_once_scenario(callers: int) -> dict[str, Any]:
    """Probes that end at once close it, as probes that end one after another do: then one failure opens nothing."""
    first = [*_RECOVERING, _call(**_CONTROL)]
    alone = [*first, *[_call(**_CONTROL)] * callers, _call("fail", **_CONTROL), _call(**_CONTROL)]
    at_once = [*first, _together(callers, **_CONTROL), _pass(2.0), _call("fail"), _call(), _CLEAR]
    return _scenario([*alone, _NEW, *at_once], **_half_open_config(callers + 1, min_calls_to_open=2))


class WindowCountsEveryCall(_BreakerCheck):
    """No result is lost, and none counted twice, when calls end at the same instant."""

    hint = _PERIOD
    scenarios = st.builds(_at_once_scenario, st.integers(2, 3)) | st.builds(_probes_at_once_scenario, st.integers(2, 4))
    examples = 1
    interleavings = 24
    always = (_at_once_scenario(4), _probes_at_once_scenario(6))

    def judge_calls(self, scenario: dict[str, Any], history: History) -> None:
        if _call(**_CONTROL) in scenario["steps"]:
            _follow(scenario, history)
        else:
            _judge_second_breaker(history, "as when they come one after another")


def _judge_second_breaker(history: History, condition: str) -> None:
    """It must open after as many failures as the first, or as many as there were at once, however many these are."""
    second = next(index for index, event in enumerate(history) if "new" in event)
    crowd = sum(event.get("crowd", False) for event in history)
    _judge_same_number(history[:second], history[second:], f"a breaker, {condition}", len(history) - 1, crowd)


def _judge_same_number(before: History, after: History, condition: str, at: int, least: int = 0) -> None:
    """Both histories must open a breaker after the same number of failures."""
    first, second = _failures_to_open(before), _failures_to_open(after)
    if first is None:
        raise Mismatch(
            expected="the breaker to open when every call fails", observed="it never opened", at=len(before) - 1
        )
    if second != max(first, least):
        raise Mismatch(
            expected=f"{_count(max(first, least), 'failure')} to open {condition}",
            observed="it never opened" if second is None else f"it opened after {second}",
            at=at,
        )


def _failures_to_open(history: History) -> int | None:
    """How many calls had failed when the first was refused; None if none was."""
    calls = [event for event in history if event.get("ends") == "fail"]
    return sum(not event["refused"] for event in calls) if any(event["refused"] for event in calls) else None


def _story(probe: str) -> dict[str, Any]:
    recovered = State.CLOSED if probe == "ok" else State.OPEN
    steps = [
        _look(State.CLOSED),
        _call(),
        _look(State.CLOSED),
        _open(),
        _look(State.OPEN),
        _pass(5.0),
        _look(State.OPEN),
    ]
    steps += [_pass(10.0), _look(State.OPEN, State.HALF_OPEN), _start(probe, 2.0), _look(State.HALF_OPEN), _pass(4.0)]
    return _scenario([*steps, _look(recovered)], **_half_open_config(1))


class StateTellsTheStory(_BreakerCheck):
    """Success, failure, recovery: `state` reads CLOSED, OPEN, HALF_OPEN, then CLOSED, or OPEN if the probe fails."""

    hint = _PERIOD
    scenarios = st.builds(_story, st.sampled_from(_COUNTED))
    examples = 2
    always = (_story("ok"), _story("fail"))

    def judge_calls(self, scenario: dict[str, Any], history: History) -> None:
        for index, event in enumerate(history):
            if "states" in event and event["state"] not in event["states"]:
                raise Mismatch(
                    expected=f"state to read {' or '.join(event['states'])}", observed=event["state"], at=index
                )
