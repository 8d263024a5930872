"""The checks of 17.2.5: what a deadline does, seen only from the functions that run under it and from what callers get.

Invariant: every design that keeps the stated rules passes: one that runs the function in the caller's task or in one of
its own, that names levels in any words, that clamps what is left at zero or not. No two limits of a scenario are equal.

A scenario is a parent deadline, a chain of levels of which each calls the next, and how long the innermost one works
(`_Player` plays it). A history holds one event per planned thing, each with its outcome, and one per run of a function.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from hypothesis import strategies as st

from graders.kit import Check, Event, History, Mismatch, World
from graders.kit.world import text
from shared.resilience.contracts import InvalidHierarchy

REFERENCE = "shared.resilience.deadlines"

_INSTANT = "Hint 1: an instant, not a duration"
_SCOPE = "Hint 2: stop it, then wait for it"
_TREE = "Hint 3: the tree"

_TOLERANCE = 0.001
"""Seconds by which an instant may be missed."""
_LONG = 8.0
"""Seconds of work that outlast every limit."""
_AFTER = 12.0
"""Seconds that the caller goes on after its calls: orphans have ended by then."""
_WORDS = ("checkout", "pricing", "ledger", "vault")
"""Names of levels, from the outside in: no message holds them by accident."""
_ERRORS: dict[str, type[Exception]] = {"ValueError": ValueError, "KeyError": KeyError, "TimeoutError": TimeoutError}

Level = dict[str, Any]


# Scenarios


def _level(name: str, timeout: float, named: bool = True) -> Level:
    """One level. `named`: its name is given to the call; otherwise it is the name of the function."""
    return {"name": name, "timeout": timeout, "named": named}


def _scenario(
    *levels: Level,
    parent: tuple[str, float] | None = None,
    wait: float = 0.0,
    through: Level | None = None,
    lasts: float = _LONG,
    ends: str = "value",
    cleanup: float = 0.0,
    cancel: float | None = None,
    calls: int = 1,
    pause: float = 0.0,
) -> dict[str, Any]:
    """`wait`: seconds between the parent's beginning and the first call. `through`: a call that has ended, whose
    deadline is the parent of the levels. `cancel`: seconds from the call to its cancellation."""
    return {
        "parent": list(parent) if parent else None,
        "wait": wait,
        "through": through,
        "levels": list(levels),
        "lasts": lasts,
        "ends": ends,
        "cleanup": cleanup,
        "cancel": cancel,
        "calls": calls,
        "pause": pause,
    }


def _described(scenario: dict[str, Any]) -> str:
    words = []
    if scenario["parent"]:
        name, seconds = scenario["parent"]
        words.append(f"a parent {name!r} with {seconds:g} s")
        if scenario["wait"]:
            words.append(f"{scenario['wait']:g} s pass")
    if scenario["through"]:
        words.append(
            f"a call {scenario['through']['name']!r} ({scenario['through']['timeout']:g} s) hands its deadline on"
        )
    chain = ", which calls ".join(f"{level['name']!r} ({level['timeout']:g} s)" for level in scenario["levels"])
    times = f"{scenario['calls']} calls of " if scenario["calls"] > 1 else "a call of "
    words.append(times + chain)
    ending = "" if scenario["ends"] == "value" else f", then raises {scenario['ends']}"
    words.append(f"the work takes {scenario['lasts']:g} s{ending}")
    if scenario["cleanup"]:
        words.append(f"it cleans up for {scenario['cleanup']:g} s when it is stopped")
    if scenario["cancel"] is not None:
        words.append(f"the caller is cancelled after {scenario['cancel']:g} s")
    return "; ".join(words)


# Beside the answer


class _Player:
    """Plays a scenario. Every event has a `role` and, once it is over, an `outcome` and `until`.

    Roles: "deadline" (the parent is made), "through", "call" (a call of the outermost level; `own`: it ended with the
    very value or error with which the level's function ended), "run" (of the function of `level`: `remaining` at its
    start, `cancelled` when it was told to stop), "after" (what the caller does next).
    """

    def __init__(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        self._deadline, self._call_with_deadline = answer
        self._scenario, self._world = scenario, world
        self._value = object()
        self._ended: Any = self

    async def play(self) -> None:
        caller = asyncio.ensure_future(self._caller())
        if self._scenario["cancel"] is not None:
            await asyncio.sleep(self._scenario["wait"] + self._scenario["cancel"])
            caller.cancel()
        await asyncio.wait({caller})
        caller.result()

    async def _caller(self) -> None:
        scenario = self._scenario
        parent: Any = None
        if scenario["parent"]:
            parent = self._make(*scenario["parent"])
            await asyncio.sleep(scenario["wait"])
        if scenario["through"]:
            parent = await self._hand_on(scenario["through"], parent)
        for number in range(1, scenario["calls"] + 1):
            what = f"call {number} of {scenario['levels'][0]['name']}"
            await self._observe("call", what, lambda: self._start(0, parent))
            if scenario["pause"]:
                await asyncio.sleep(scenario["pause"])
        await self._observe("after", "the caller goes on", lambda: asyncio.sleep(_AFTER))

    def _make(self, name: str, seconds: float) -> Any:
        made: list[Any] = []
        event = self._world.call(
            f"Deadline.after({seconds:g}, name={name!r})", lambda: made.append(self._deadline.after(seconds, name=name))
        )
        event["role"] = "deadline"
        return made[0] if made else None

    async def _hand_on(self, level: Level, parent: Any) -> Any:
        kept: list[Any] = []

        async def keep(deadline: Any) -> None:
            kept.append(deadline)

        async def start() -> None:
            await self._call_with_deadline(keep, level["timeout"], parent, name=level["name"])

        await self._observe("through", f"call of {level['name']}", start)
        return kept[0] if kept else parent

    async def _observe(self, role: str, what: str, start: Callable[[], Awaitable[Any]]) -> None:
        event = self._world.record(what, "waiting", role=role)
        self._ended = self
        try:
            value = await start()
        except NotImplementedError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            event.update(_raised(error), own=error is self._ended, until=self._world.now)
        else:
            event.update(outcome="returned", kind="accepted", own=value is self._ended, until=self._world.now)

    async def _start(self, index: int, parent: Any) -> Any:
        level = self._scenario["levels"][index]
        name = {"name": level["name"]} if level["named"] else {}
        above = () if parent is None else (parent,)
        return await self._call_with_deadline(self._function(index), level["timeout"], *above, **name)

    def _function(self, index: int) -> Callable[[Any], Awaitable[Any]]:
        level = self._scenario["levels"][index]

        async def fn(deadline: Any) -> Any:
            event = self._world.record(f"{level['name']} runs", "waiting", role="run", level=index)
            event.update(remaining=_remaining(deadline), cancelled=None)
            try:
                value = await (self._start(index + 1, deadline) if self._below(index) else self._work(event))
            except BaseException as error:
                event.update(_raised(error), until=self._world.now)
                if not index:
                    self._ended = error
                raise
            event.update(outcome="returned", kind="accepted", until=self._world.now)
            if not index:
                self._ended = value
            return value

        fn.__name__ = fn.__qualname__ = f"step_{index}" if level["named"] else level["name"]
        return fn

    def _below(self, index: int) -> bool:
        return index + 1 < len(self._scenario["levels"])

    async def _work(self, event: Event) -> Any:
        try:
            await asyncio.sleep(self._scenario["lasts"])
        except asyncio.CancelledError:
            event["cancelled"] = self._world.now
            await asyncio.sleep(self._scenario["cleanup"])
            raise
        if self._scenario["ends"] == "value":
            return self._value
        raise _ERRORS[self._scenario["ends"]]("from the function itself")


def _raised(error: BaseException) -> Event:
    return {
        "outcome": "raised",
        "kind": "failed",
        "error": type(error).__name__,
        "bases": [base.__name__ for base in type(error).__mro__],
        "message": text(error),
    }


def _remaining(deadline: Any) -> float | None:
    try:
        return float(deadline.remaining())
    except Exception:
        return None  # what fn was given is no deadline: the judge says so


# In the examiner


@dataclass(frozen=True)
class _Seen:
    """A whole history, by role, each event with its index."""

    calls: list[tuple[int, Event]]
    runs: list[tuple[int, Event]]
    after: tuple[int, Event]

    def inner(self, scenario: dict[str, Any]) -> list[tuple[int, Event]]:
        """The runs of the innermost level."""
        return [(index, event) for index, event in self.runs if event.get("level") == len(scenario["levels"]) - 1]


def _read(scenario: dict[str, Any], history: History) -> _Seen:
    """Everything that was planned, each with its outcome; a Mismatch where something is missing."""
    planned = {
        "deadline": 1 if scenario["parent"] else 0,
        "through": 1 if scenario["through"] else 0,
        "call": scenario["calls"],
        "after": 1,
    }
    found: dict[str, list[tuple[int, Event]]] = {role: [] for role in (*planned, "run")}
    for index, event in enumerate(history):
        if event.get("role") in found:
            found[event["role"]].append((index, event))
    for role, number in planned.items():
        if len(found[role]) != number:
            raise Mismatch(
                expected=f"a whole record: {number} × {role!r}", observed=f"a record with {len(found[role])} × {role!r}"
            )
    _demand_outcomes(event for events in found.values() for event in events)
    for index, event in found["deadline"]:
        if event["outcome"] != "returned":
            _part(index, f"{event['what']} to return a deadline", f"it raised {_error(event)}")
    return _Seen(found["call"], found["run"], found["after"][0])


def _demand_outcomes(events: Iterator[tuple[int, Event]]) -> None:
    for index, event in events:
        if event.get("outcome") not in ("returned", "raised") or not isinstance(event.get("until"), int | float):
            _part(index, "every call to end, with an outcome", f"no outcome of {event.get('what')!r}")


def _error(event: Event) -> str:
    message = f" ({event['message']!r})" if event.get("message") else ""
    return f"{event.get('error')}{message}"


def _ending(event: Event) -> str:
    return "it returned normally" if event["outcome"] == "returned" else f"it raised {_error(event)}"


def _part(index: int, expected: str, observed: str) -> NoReturn:
    raise Mismatch(expected=expected, observed=observed, at=index)


def _limits(scenario: dict[str, Any]) -> list[tuple[float, str]]:
    """(seconds after the first call, level) of each limit, from the outside in."""
    limits = []
    if scenario["parent"]:
        name, seconds = scenario["parent"]
        limits.append((seconds - scenario["wait"], name))
    chain = ([scenario["through"]] if scenario["through"] else []) + scenario["levels"]
    return limits + [(level["timeout"], level["name"]) for level in chain]


def _limit(scenario: dict[str, Any]) -> tuple[float, str]:
    return min(_limits(scenario))


def _only_run(scenario: dict[str, Any], seen: _Seen) -> tuple[int, Event]:
    """The one run of the innermost level, of a scenario with one call."""
    for level, named in enumerate(scenario["levels"]):
        runs = [(index, event) for index, event in seen.runs if event.get("level") == level]
        if len(runs) != 1:
            observed = (
                f"it was called {len(runs)} times" if runs else f"it was never called; {_ending(seen.calls[0][1])}"
            )
            _part(seen.calls[0][0], f"the function of {named['name']!r} to be called once", observed)
    return seen.inner(scenario)[0]


def _near(value: Any, right: float) -> bool:
    return isinstance(value, int | float) and abs(value - right) <= _TOLERANCE


class _DeadlineCheck(Check):
    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        asyncio.run(_Player(answer, scenario, world).play())

    def describe(self, scenario: dict[str, Any]) -> str:
        return _described(scenario)


_TIMEOUTS = (0.5, 1.25, 2.0, 3.5)
_PARENTS = (0.8125, 1.5625, 2.8125)
"""Never as far away as a timeout, whatever the wait."""
_WAITS = (0.0, 0.25, 0.5)


def _chains(most: int = 3) -> st.SearchStrategy[list[Level]]:
    """One to `most` levels, no two with one timeout."""
    return st.builds(
        lambda timeouts, named: [
            _level(name, timeout, each) for name, timeout, each in zip(_WORDS[1:], timeouts, named, strict=False)
        ],
        st.lists(st.sampled_from(_TIMEOUTS), min_size=1, max_size=most, unique=True),
        st.lists(st.booleans(), min_size=3, max_size=3),
    )


def _under_a_parent(levels: list[Level], parent: float | None, wait: float, **more: Any) -> dict[str, Any]:
    if parent is None:
        return _scenario(*levels, **more)
    return _scenario(*levels, parent=(_WORDS[0], parent), wait=wait, **more)


_EXPIRING = st.builds(_under_a_parent, _chains(), st.sampled_from((None, *_PARENTS)), st.sampled_from(_WAITS))


# The checks


class DeadlineCountsDown(Check):
    """A deadline is an instant: `remaining()` falls as time passes, and is at most 0 after expiry."""

    hint = _INSTANT
    scenarios = st.fixed_dictionaries(
        {
            "seconds": st.sampled_from((0.8125, 2.3125, 60.0625)),
            "waits": st.lists(st.sampled_from((0.25, 1.0, 30.0)), min_size=1, max_size=4),
            "clock": st.booleans(),
        }
    )
    examples = 15
    always: ClassVar = [
        {"seconds": 2.3125, "waits": [0.5], "clock": True},
        {"seconds": 2.3125, "waits": [1.0, 1.0, 1.0], "clock": False},
        {"seconds": 0.8125, "waits": [0.5, 30.0], "clock": True},
    ]

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        clock = {"clock": world.clock} if scenario["clock"] else {}
        made: list[Any] = []

        def make() -> None:
            made.append(answer.after(scenario["seconds"], name=_WORDS[0], **clock))
            made.append(answer.after(1000.0, name=_WORDS[1], **clock))

        world.call(f"Deadline.after({scenario['seconds']:g})", make)
        for wait in (0.0, *scenario["waits"]):
            world.sleep(wait)
            world.call("remaining()", lambda: made[0].remaining())

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        events = [(index, event) for index, event in enumerate(history) if "outcome" in event]
        if len(events) != len(history) or len(events) != len(scenario["waits"]) + 2:
            raise Mismatch(
                expected=f"a whole record: {len(scenario['waits']) + 2} calls with outcomes",
                observed=f"a record with {len(events)}",
            )
        _demand_outcomes(iter(events))
        for index, event in events:
            if event["outcome"] == "raised":
                _part(index, f"{event['what']} to return", f"it raised {_error(event)} at {event['t']:g} s")
        for (index, event), passed in zip(events[1:], itertools.accumulate((0.0, *scenario["waits"])), strict=True):
            left, value = scenario["seconds"] - passed, event.get("value")
            when = f"{passed:g} s after Deadline.after({scenario['seconds']:g})"
            if left > 0 and not _near(value, left):
                _part(index, f"remaining() = {left:g} s, {when}", f"remaining() = {value!r}")
            if left < 0 and not (isinstance(value, int | float) and value <= _TOLERANCE):
                _part(index, f"remaining() at most 0, {when}", f"remaining() = {value!r}")

    def describe(self, scenario: dict[str, Any]) -> str:
        waits = ", then ".join(f"{wait:g} s" for wait in scenario["waits"])
        return f"a deadline of {scenario['seconds']:g} s; these pass: {waits}"


class ChildGetsTheSmaller(_DeadlineCheck):
    """A call has the smaller of its own timeout and what its parent has left; `fn` is given that deadline."""

    hint = _INSTANT
    scenarios = _EXPIRING
    examples = 25
    always: ClassVar = [
        _scenario(_level("pricing", 0.5)),
        _scenario(_level("pricing", 0.5), parent=("checkout", 1.5625)),
        _scenario(_level("pricing", 2.0), parent=("checkout", 0.8125)),
        _scenario(_level("pricing", 1.25), parent=("checkout", 1.5625), wait=0.5),
        _scenario(_level("pricing", 1.25), _level("ledger", 3.5)),
    ]

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        seen = _read(scenario, history)
        inner, work = _only_run(scenario, seen)
        limits = _limits(scenario)
        outside = len(limits) - len(scenario["levels"])
        for index, run in seen.runs:
            right, level = min(limits[: outside + run["level"] + 1])
            if not _near(run["remaining"], right):
                left, name = run["remaining"], scenario["levels"][run["level"]]["name"]
                given = "something without remaining()" if left is None else f"one with {left:g} s left"
                _part(index, f"{name!r} to be given a deadline with {right:g} s left, the limit of {level!r}", given)
        right, level = _limit(scenario)
        begun = seen.calls[0][1]["t"]
        stopped = work["cancelled"]
        if stopped is None or not _near(stopped, begun + right):
            told = "it was never told to stop" if stopped is None else f"it was told to after {stopped - begun:g} s"
            _part(inner, f"the work to be told to stop after {right:g} s, the limit of {level!r}", told)


class ExpiredParentStartsNothing(_DeadlineCheck):
    """Under an expired parent nothing is started: TimeoutError, at once."""

    hint = _INSTANT
    scenarios = st.builds(
        lambda levels, parent, lasts, calls: _scenario(
            *levels, parent=(_WORDS[0], parent), wait=parent + 0.5, lasts=lasts, calls=calls
        ),
        _chains(1),
        st.sampled_from(_PARENTS),
        st.sampled_from((0.0, 1.0, _LONG)),
        st.integers(1, 2),
    )
    examples = 12
    always: ClassVar = [
        _scenario(_level("pricing", 2.0), parent=("checkout", 0.8125), wait=1.0),
        _scenario(_level("pricing", 2.0), parent=("checkout", 0.8125), wait=1.0, lasts=0.0),
    ]

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        seen = _read(scenario, history)
        since = scenario["wait"] - scenario["parent"][1]
        told = f"the parent expired {since:g} s before"
        if seen.runs:
            _part(seen.runs[0][0], f"the function never to be called: {told}", "it was called")
        for index, call in seen.calls:
            if call["outcome"] != "raised" or "TimeoutError" not in call["bases"]:
                _part(index, f"TimeoutError: {told}", _ending(call))
            if call["until"] - call["t"] > _TOLERANCE:
                _part(index, f"TimeoutError at once: {told}", f"it came {call['until'] - call['t']:g} s later")


class NothingRunsAfterItsDeadline(_DeadlineCheck):
    """On expiry the work is stopped, and the call returns only when it has ended: no orphans."""

    hint = _SCOPE
    scenarios = st.one_of(
        _EXPIRING,
        st.builds(
            lambda timeout, cleanup: _scenario(_level("pricing", timeout), cleanup=cleanup),
            st.sampled_from(_TIMEOUTS),
            st.sampled_from((0.25, 1.0)),
        ),
        st.builds(
            lambda cleanup: _scenario(_level("pricing", 3.5), _level("ledger", 1.25), cleanup=cleanup),
            st.sampled_from((0.25, 1.0)),
        ),
    )
    examples = 20
    always: ClassVar = [
        _scenario(_level("pricing", 0.5)),
        _scenario(_level("pricing", 0.5), cleanup=0.25),
        _scenario(_level("pricing", 0.5), _level("ledger", 2.0)),
        _scenario(_level("pricing", 3.5), _level("ledger", 0.5), cleanup=0.25),
        _scenario(_level("pricing", 0.5), parent=("checkout", 1.5625), wait=0.25),
    ]

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        seen = _read(scenario, history)
        inner, work = _only_run(scenario, seen)
        (_, call), name = seen.calls[0], scenario["levels"][-1]["name"]
        stopped = work["cancelled"]
        if stopped is None:
            worked, lasted = work["until"] - work["t"], call["until"] - call["t"]
            observed = f"it worked on until {worked:g} s, and the call ended after {lasted:g} s"
            _part(inner, f"{name!r} to be stopped when its time is up, after {_limit(scenario)[0]:g} s", observed)
        for index, run in seen.runs:
            if run["until"] > call["until"] + _TOLERANCE:
                level = scenario["levels"][run["level"]]["name"]
                _part(
                    index,
                    f"the call to end only after {level!r} has ended, {run['until'] - call['t']:g} s after its start",
                    f"the call ended after {call['until'] - call['t']:g} s: an orphan",
                )
        if work["until"] > stopped + scenario["cleanup"] + _TOLERANCE:
            _part(
                inner,
                f"{name!r} to end {scenario['cleanup']:g} s after it was told to",
                f"it ended {work['until'] - stopped:g} s after",
            )
        if call["until"] > work["until"] + _TOLERANCE:
            _part(
                seen.calls[0][0],
                f"the call to end with {name!r}, after {work['until'] - call['t']:g} s",
                f"it ended after {call['until'] - call['t']:g} s",
            )


class ErrorNamesTheLevel(_DeadlineCheck):
    """The TimeoutError's text names the level that set the limit, however deep the call is."""

    hint = _SCOPE
    scenarios = st.one_of(
        _EXPIRING,
        st.builds(
            lambda parent, handed: _scenario(
                _level("ledger", 3.5), parent=(_WORDS[0], parent), through=_level("pricing", handed)
            ),
            st.sampled_from(_PARENTS),
            st.sampled_from((0.5, 1.25, 2.0)),
        ),
    )
    examples = 25
    always: ClassVar = [
        _scenario(_level("pricing", 0.5)),
        _scenario(_level("pricing", 0.5, named=False)),
        _scenario(_level("pricing", 3.5), _level("ledger", 0.5)),
        _scenario(_level("pricing", 2.0), _level("ledger", 0.5), _level("vault", 1.25)),
        _scenario(_level("pricing", 1.25), parent=("checkout", 1.5625), wait=0.5),
        _scenario(_level("pricing", 0.5), _level("ledger", 2.0)),
        _scenario(_level("pricing", 0.5), parent=("checkout", 1.5625), wait=0.25),
        _scenario(_level("pricing", 0.5), parent=("checkout", 1.5625)),
        _scenario(_level("pricing", 2.0), parent=("checkout", 0.8125)),
        _scenario(_level("ledger", 3.5), parent=("checkout", 0.8125), through=_level("pricing", 2.0)),
        _scenario(_level("ledger", 3.5), parent=("checkout", 2.8125), through=_level("pricing", 1.25)),
        _scenario(_level("pricing", 2.0), parent=("checkout", 0.8125), wait=1.0),
    ]

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        seen = _read(scenario, history)
        index, call = seen.calls[0]
        seconds, level = _limit(scenario)
        if seconds > 0:
            _only_run(scenario, seen)
        why = f"which set the limit of {seconds:g} s" if seconds > 0 else "which had expired before"
        if call["outcome"] != "raised" or "TimeoutError" not in call["bases"] or level not in call["message"]:
            _part(index, f"TimeoutError with {level!r} in its text, {why}", _ending(call))


class ResultsAndErrorsPassUnchanged(_DeadlineCheck):
    """What `fn` returns or raises in time reaches the caller unchanged: its own and lower levels' TimeoutErrors too."""

    hint = _SCOPE
    scenarios = st.one_of(
        st.builds(
            lambda lasts, ends, parent: _under_a_parent([_level("pricing", 3.5)], parent, 0.25, lasts=lasts, ends=ends),
            st.sampled_from((0.0, 0.125, 0.375)),
            st.sampled_from(("value", *_ERRORS)),
            st.sampled_from((None, *_PARENTS)),
        ),
        st.builds(
            lambda outer, inner: _scenario(_level("pricing", outer), _level("ledger", inner)),
            st.sampled_from((2.0, 3.5)),
            st.sampled_from((0.5, 1.25)),
        ),
    )
    examples = 20
    always: ClassVar = [
        _scenario(_level("pricing", 2.0), lasts=0.375),
        *(_scenario(_level("pricing", 2.0), lasts=0.375, ends=ends) for ends in _ERRORS),
        _scenario(_level("pricing", 2.0), _level("ledger", 0.5)),
        _scenario(_level("pricing", 3.5), _level("ledger", 2.0), lasts=0.375, ends="TimeoutError"),
    ]

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        seen = _read(scenario, history)
        _only_run(scenario, seen)
        index, call = seen.calls[0]
        outer = next(run for _, run in seen.runs if run["level"] == 0)
        name = scenario["levels"][0]["name"]
        if not call.get("own") or call["outcome"] != outer["outcome"]:
            right = "value" if outer["outcome"] == "returned" else f"{_error(outer)}, that very object"
            same = call["outcome"] == outer["outcome"] and call.get("error") == outer.get("error")
            other = _ending(call) + (", but with something else" if same else "")
            _part(index, f"the caller to get what the function of {name!r} ended with: {right}", other)
        later, after = seen.after
        if after["outcome"] != "returned" or not _near(after["until"] - after["t"], _AFTER):
            _part(
                later,
                f"the caller to go on for {_AFTER:g} s, undisturbed: the call is over",
                f"{after['until'] - after['t']:g} s later {_ending(after)}",
            )


class CancellationPassesThrough(_DeadlineCheck):
    """Cancelling the caller reaches `fn`; when `fn` has ended, the caller gets CancelledError."""

    hint = _SCOPE
    scenarios = st.builds(
        lambda cancel, cleanup, levels, parent: _under_a_parent(levels, parent, 0.0, cancel=cancel, cleanup=cleanup),
        st.sampled_from((0.0625, 0.1875)),
        st.sampled_from((0.0, 0.125)),
        _chains(2),
        st.sampled_from((None, *_PARENTS)),
    )
    examples = 20
    always: ClassVar = [
        _scenario(_level("pricing", 2.0), cancel=0.5),
        _scenario(_level("pricing", 2.0), cancel=0.5, cleanup=0.25),
        _scenario(_level("pricing", 3.5), _level("ledger", 2.0), cancel=0.5),
        _scenario(_level("pricing", 2.0), parent=("checkout", 2.8125), cancel=0.5, cleanup=0.25),
    ]

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        seen = _read(scenario, history)
        inner, work = _only_run(scenario, seen)
        (index, call), name = seen.calls[0], scenario["levels"][-1]["name"]
        stopped, cancel = work["cancelled"], call["t"] + scenario["cancel"]
        if stopped is None or not _near(stopped, cancel):
            told = "it never got one" if stopped is None else f"it got one at {stopped:g} s"
            _part(inner, f"{name!r} to get CancelledError at {cancel:g} s, with its caller", told)
        if call["outcome"] != "raised" or call["error"] != "CancelledError":
            _part(index, "the caller to get CancelledError", _ending(call))
        if work["until"] > call["until"] + _TOLERANCE:
            _part(
                inner,
                f"the call to end only after {name!r} has ended, at {work['until']:g} s",
                f"the call ended at {call['until']:g} s: an orphan",
            )
        if call["until"] > work["until"] + _TOLERANCE:
            _part(index, f"the call to end with {name!r}, at {work['until']:g} s", f"it ended at {call['until']:g} s")


class RetriesShareOneTotal(_DeadlineCheck):
    """Calls one after the other under one parent share its total: the last gets what is left, then none starts."""

    hint = _INSTANT
    scenarios = st.builds(
        lambda parent, timeout, pause, lasts: _scenario(
            _level("pricing", timeout),
            parent=(_WORDS[0], parent),
            calls=5,
            pause=pause,
            lasts=lasts,
            ends="value" if lasts == _LONG else "ValueError",
        ),
        st.sampled_from((0.8125, 1.5625, 1.8125)),
        st.sampled_from((0.5, 0.75, 1.0)),
        st.sampled_from((0.125, 0.25)),
        st.sampled_from((0.375, _LONG)),
    )
    examples = 15
    always: ClassVar = [
        _scenario(_level("pricing", 0.75), parent=("checkout", 1.8125), calls=4, pause=0.125),
        _scenario(_level("pricing", 1.0), parent=("checkout", 1.5625), calls=4, pause=0.25),
        _scenario(
            _level("pricing", 1.0), parent=("checkout", 0.8125), calls=4, pause=0.125, lasts=0.375, ends="ValueError"
        ),
    ]

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        seen = _read(scenario, history)
        total = scenario["parent"][1]
        for number, (index, call) in enumerate(seen.calls, 1):
            left = total - call["t"]
            run = next((each for each in seen.runs if call["t"] <= each[1]["t"] <= call["until"]), None)
            told = f"call {number} begins at {call['t']:g} s of the total of {total:g} s"
            if left < 0:
                if run is not None:
                    _part(run[0], f"nothing to be started: {told}", "the function was called")
                continue
            if run is None:
                _part(index, f"the function to be called: {told}", f"it was not; {_ending(call)}")
            most = min(left, scenario["levels"][0]["timeout"], scenario["lasts"])
            if not _near(call["until"] - call["t"], most):
                _part(index, f"it to last {most:g} s: {told}", f"it lasted {call['until'] - call['t']:g} s")


# The hierarchy


def _node(name: str, timeout: float, *children: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "timeout": timeout, **({"children": list(children)} if children else {})}


def _nodes(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any], dict[str, Any] | None]]:
    """(path, node, its parent) of every node."""
    stack: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [(tree["name"], tree, None)]
    while stack:
        path, node, parent = stack.pop(0)
        yield path, node, parent
        stack += [(f"{path}/{child['name']}", child, node) for child in node.get("children", ())]


def _offender(tree: dict[str, Any]) -> str | None:
    """The path of the one child whose timeout is no less than its parent's."""
    return next((path for path, node, parent in _nodes(tree) if parent and node["timeout"] >= parent["timeout"]), None)


@st.composite
def _trees(draw: st.DrawFn) -> dict[str, Any]:
    """A tree with at most one offender."""
    names = iter(("service", "cache", "db", "auth", "sql", "search", "index", "disk", "mail", "queue", "audit", "log"))

    def grow(name: str, timeout: float, depth: int) -> dict[str, Any]:
        width = draw(st.integers(0, (2, 2, 1)[depth])) if depth < 3 else 0
        children = [
            grow(next(names), timeout * draw(st.sampled_from((0.5, 0.75, 0.875))), depth + 1) for _ in range(width)
        ]
        return _node(name, timeout, *children)

    tree = grow("request", 8.0, 0)
    below = [(node, parent) for _, node, parent in _nodes(tree) if parent]
    if below and draw(st.booleans()):
        node, parent = draw(st.sampled_from(below))
        node["timeout"] = parent["timeout"] * draw(st.sampled_from((1.0, 1.25, 4.0)))
    return tree


class ChildrenAreShorter(Check):
    """Every timeout is less than its direct parent's; otherwise InvalidHierarchy with the path to the child."""

    hint = _TREE
    scenarios = _trees()
    examples = 40
    always: ClassVar = [
        _node("request", 2.0),
        _node("request", 2.0, _node("service", 1.5, _node("db", 1.0, _node("sql", 0.8)))),
        _node("request", 2.0, _node("service", 2.0)),
        _node("request", 2.0, _node("service", 3.0)),
        _node("request", 2.0, _node("cache", 0.5), _node("service", 1.5, _node("db", 1.75))),
        _node("request", 2.0, _node("service", 1.5, _node("db", 1.0, _node("sql", 1.25)))),
        _node("request", 2.0, _node("service", 1.5), _node("search", 1.5), _node("mail", 1.5)),
        _node("request", 2.0, _node("service", 3.0, _node("db", 2.5))),
        {"name": "request", "timeout": 2, "children": [{"name": "service", "timeout": 1, "children": []}]},
    ]

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        paths: list[Any] = []

        def validate() -> Any:
            try:
                return answer(scenario)
            except InvalidHierarchy as error:
                paths.append(error.path)
                raise

        event = world.call("validate_hierarchy(tree)", validate)
        event["path"] = paths[0] if paths and isinstance(paths[0], str) else None

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        if len(history) != 1:
            raise Mismatch(expected="a record of one call", observed=f"a record of {len(history)}")
        _demand_outcomes(iter(enumerate(history)))
        event, right = history[0], _offender(scenario)
        if event["outcome"] == "raised" and event.get("path") is None:
            observed = f"it raised {_error(event)}"
        elif event["outcome"] == "raised":
            observed = f"InvalidHierarchy({event['path']!r})"
        else:
            observed = "it returned None" if event.get("value") is None else f"it returned {event['value']!r}"
        if right is None and observed != "it returned None":
            _part(0, "None: every child is shorter than its parent", observed)
        if right is not None and (event["outcome"] != "raised" or event.get("path") != right):
            _part(0, f"InvalidHierarchy({right!r})", observed)

    def describe(self, scenario: dict[str, Any]) -> str:
        return ", ".join(f"{path} {node['timeout']:g} s" for path, node, _ in _nodes(scenario))
