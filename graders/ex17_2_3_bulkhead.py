"""The checks of 17.2.3: what a bulkhead does, seen only from the functions that it runs and from what its callers get.

Invariant: every design that keeps the stated rules passes, in whatever threads it runs its calls and in whatever order
its waiters get their turn. So no judge plans a history: it takes the calls as the answer ran them, and asks of each
whether it could come about under the rules, given how the others went.

A scenario is limits and calls, each with its instant, made by threads of their own. Instants lie on whole seconds,
functions end on sixteenths and timeouts on halves, so that nothing is decided by a tie.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from graders.kit import Check, Event, History, Mismatch, World
from shared.resilience.contracts import TenantLimit

REFERENCE = "shared.resilience.bulkhead"

_PERMITS = "Hint 1: two counts"
_THREAD = "Hint 2: who runs the function"
_LEAVING = "Hint 3: four ways out"

_TOLERANCE = 0.05
"""Seconds by which a call may begin or come back late: an answer may look around from time to time."""
_LONG = 400.5
"""A timeout that no scenario reaches."""
_SIXTEENTH = 1 / 16

_ENDINGS: dict[str, type[Exception]] = {
    "ValueError": ValueError,
    "ConnectionError": ConnectionError,
    "TimeoutError": TimeoutError,
    "KeyError": KeyError,
    "queue.Full": queue.Full,
}
_ERRORS = ["ValueError", "ConnectionError"]
_VALUES: dict[str, Any] = {"an object": object(), "None": None, "0": 0, "False": False}

Step = dict[str, Any]
Limits = dict[str, list[int]]


# Scenarios


def _call(
    at: float, lasts: float, timeout: float = _LONG, tenant: str = "free", ends: str = "ok", times: int = 1
) -> Step:
    """`times` calls by a thread of their own, one after the other; the function runs for `lasts` seconds."""
    return {"at": at, "tenant": tenant, "lasts": lasts, "timeout": timeout, "ends": ends, "times": times}


def _scenario(places: int, room: int, calls: list[Step]) -> dict[str, Any]:
    return {"limits": {"free": [places, room]}, "calls": calls}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _limits_in_words(limits: Limits) -> str:
    return ", ".join(
        f"{tenant}: {_count(places, 'place')}, waiting room for {room}" for tenant, (places, room) in limits.items()
    )


def _call_in_words(step: Step) -> str:
    what = f"runs {step['lasts']:g} s" if step["lasts"] else "ends at once"
    if step["ends"] != "ok":
        what += f", raises {step['ends']}"
    if step["timeout"] != _LONG:
        what += f", timeout {step['timeout']:g} s"
    return what + (f", {step['times']} in a row" if step["times"] > 1 else "")


# Beside the answer


class _Player:
    """Makes the calls of a scenario. Every call is one event, and its function writes `began`, `ended`, `runs` into it.

    `own`: the caller got the function's own value, or its very exception. `full`: it got queue.Full, and nothing ran.
    """

    def __init__(self, answer: Any, limits: Limits, world: World) -> None:
        self._world = world
        self._bulkhead = answer({name: TenantLimit(*limit) for name, limit in limits.items()}, world.clock)
        self._numbers = 0
        self._marks: list[tuple[Event, dict[str, Any]]] = []

    def play(self, calls: list[Step]) -> None:
        """Make the calls, wait for their callers, and give what still runs the time to end."""
        start = self._world.now
        for step in sorted(calls, key=lambda step: step["at"]):
            if (wait := start + step["at"] - self._world.now) > 0:
                self._world.sleep(wait)
            number = self._numbers = self._numbers + 1
            self._world.start(self._make, step, number, name=f"caller {number}")
        self._world.join()
        self._world.sleep(1.0 + sum(step["lasts"] * step["times"] for step in calls))
        for event, mark in self._marks:
            event.update(mark)

    def _make(self, step: Step, number: int) -> None:
        for turn in range(step["times"]):
            self.call(step, f"{number}" if step["times"] == 1 else f"{number}.{turn + 1}")

    def call(self, step: Step, name: str, value: Any = None) -> Event:
        error = _ENDINGS.get(step["ends"], Exception)("from the function")
        mark: dict[str, Any] = {"call": name, "began": None, "ended": None, "runs": 0, "own": False, "full": False}

        def function() -> Any:
            mark["runs"] += 1
            mark["began"] = self._world.now
            if step["lasts"]:
                self._world.sleep(step["lasts"])
            mark["ended"] = self._world.now
            if step["ends"] in _ENDINGS:
                raise error
            return value

        def submit() -> Any:
            try:
                got = self._bulkhead.submit(step["tenant"], function, step["timeout"])
            except Exception as raised:
                mark.update(own=raised is error, full=isinstance(raised, queue.Full) and not mark["runs"])
                raise
            mark["own"] = got is value and step["ends"] not in _ENDINGS
            return got

        event = self._world.call(f"call {name} ({step['tenant']}: {_call_in_words(step)})", submit)
        expired = "TimeoutError" in event.get("bases", ()) and not mark["own"]
        kind = "rejected" if mark["full"] else "slow" if expired else event["kind"]
        event.update(mark, tenant=step["tenant"], timeout=step["timeout"], expired=expired, kind=kind)
        self._marks.append((event, mark))
        return event


# In the examiner


def _running(calls: list[Event], tenant: str, instant: float) -> int:
    """How many calls of `tenant` ran just after `instant`."""
    return sum(
        call["tenant"] == tenant
        and call["began"] is not None
        and call["began"] <= instant
        and (call["ended"] is None or call["ended"] > instant)
        for call in calls
    )


def _waits(call: Event, instant: float) -> bool:
    """Whether the caller was in the waiting room at `instant`."""
    begun = call["began"] is not None and call["began"] <= instant
    return call["t"] < instant < call["until"] and not call["full"] and not begun


def _got(call: Event) -> str:
    if call["outcome"] == "raised":
        foreseen = not {"TimeoutError", "Full"}.isdisjoint(call.get("bases", ()))
        said = f" ({call['message']})" if call["message"] and not foreseen else ""
        return f"it got {call['error']}{said} at {call['until']:g} s"
    return f"it returned {call['value']!r} at {call['until']:g} s"


def _went(call: Event) -> str:
    """Where the call was, for a card on which it should have been somewhere else."""
    if call["began"] is None:
        return f"it never began; {_got(call)}"
    return f"it began at {call['began']:g} s"


def _complete(calls: list[Step], events: History) -> None:
    """Every call that was made is in the record, with its outcome: less than that shows nothing."""
    made = sum(step["times"] for step in calls)
    told = sum({"call", "outcome", "until"} <= event.keys() for event in events)
    if not made == told == len(events):
        raise Mismatch(expected=f"a record of {_count(made, 'call')}, each with its outcome", observed=f"one of {told}")


Found = tuple[float, Mismatch]


def _too_many(limits: Limits, calls: list[Event]) -> Iterator[Found]:
    """More calls of a tenant run than it has places."""
    for index, call in enumerate(calls):
        if call["began"] is None:
            continue
        places, running = limits[call["tenant"]][0], _running(calls, call["tenant"], call["began"])
        if running > places:
            expected = f"at most {_count(places, 'call')} of {call['tenant']} to run at a time"
            yield call["began"], Mismatch(expected=expected, observed=f"{running} ran at {call['began']:g} s", at=index)


def _entrance(limits: Limits, calls: list[Event]) -> Iterator[Found]:
    """A call is let in, kept waiting or refused, though others in its tenant say otherwise."""
    for index, call in enumerate(calls):
        tenant, instant = call["tenant"], call["t"]
        places, room = limits[tenant]
        others = [other for other in calls if other is not call and other["tenant"] == tenant and other["t"] < instant]
        running, waiting = _running(others, tenant, instant), sum(_waits(other, instant) for other in others)
        name = f"call {call['call']}"
        if running >= places and waiting >= room:
            if not call["full"]:
                where = "let in" if call["expired"] or call["began"] is not None else "not refused with queue.Full"
                observed = f"it was {where}: {_went(call)}"
            elif call["until"] > instant + _TOLERANCE:
                observed = _got(call)
            else:
                continue
            why = f"{running} running, {waiting} waiting"
            expected = f"{name} to be refused with queue.Full at {instant:g} s, at once: {why}"
        elif call["full"]:
            todo = "begin" if running < places else "wait"
            expected = (
                f"{name} to {todo} at {instant:g} s: {_of(running, places)} places are taken, {waiting} of {room} wait"
            )
            observed = "it was refused: queue.Full"
        elif running < places and not waiting and not _began_by(call, instant):
            expected = f"{name} to begin at {instant:g} s, at once: {_of(running, places)} places are taken"
            observed = _went(call)
        else:
            continue
        yield instant, Mismatch(expected=expected, observed=observed, at=index)


def _of(running: int, places: int) -> str:
    return f"{running} of {places}"


def _began_by(call: Event, instant: float) -> bool:
    return call["began"] is not None and call["began"] <= instant + _TOLERANCE


def _idle_places(limits: Limits, calls: list[Event]) -> Iterator[Found]:
    """A place gets free, a call waits for it, and does not get it."""
    for before in calls:
        if before["ended"] is None:
            continue
        soon = before["ended"] + _TOLERANCE
        for index, call in enumerate(calls):
            if call["tenant"] != before["tenant"] or not _waits(call, soon) or call["t"] > before["ended"]:
                continue
            if _running(calls, call["tenant"], soon) < limits[call["tenant"]][0]:
                expected = f"call {call['call']} to begin at {before['ended']:g} s, when call {before['call']} ended"
                yield before["ended"], Mismatch(expected=expected, observed=_went(call), at=index)


def _ghosts(limits: Limits, calls: list[Event]) -> Iterator[Found]:
    """A call begins although its caller has already left the waiting room."""
    for index, call in enumerate(calls):
        if call["began"] is not None and call["began"] > call["until"] + _TOLERANCE:
            expected = f"the function of call {call['call']} never to run: its caller left at {call['until']:g} s"
            yield call["began"], Mismatch(expected=expected, observed=f"it began at {call['began']:g} s", at=index)


def _deadlines(limits: Limits, calls: list[Event]) -> Iterator[Found]:
    """A caller does not get the outcome when it is there, or TimeoutError when it is not there in time."""
    for index, call in enumerate(calls):
        due, ended = call["t"] + call["timeout"], call["ended"]
        if call["full"] or (call["began"] is None and not call["expired"] and call["until"] <= call["t"] + _TOLERANCE):
            continue
        if ended is not None and ended < due - _TOLERANCE:
            if not call["expired"] and call["until"] <= ended + _TOLERANCE:
                continue
            expected = (
                f"call {call['call']} to come back at {ended:g} s, when its function ended; its timeout is at {due:g} s"
            )
        elif call["expired"] and abs(call["until"] - due) <= _TOLERANCE:
            continue
        else:
            expected = f"call {call['call']} to get TimeoutError at {due:g} s: {_spent(call, due)}"
        yield min(due, call["until"]), Mismatch(expected=expected, observed=_got(call), at=index)


def _spent(call: Event, due: float) -> str:
    """How the call spent its timeout."""
    running = due - call["began"] if call["began"] is not None and call["began"] < due else 0.0
    spent = {"waiting": call["timeout"] - running, "running": running}
    told = [f"{seconds:.4g} s of {what}" for what, seconds in spent.items() if seconds > _TOLERANCE]
    return " and ".join(told) + f", the timeout is {call['timeout']:g} s"


Rule = Callable[[Limits, list[Event]], Iterator[Found]]


class _BulkheadCheck(Check):
    """Drives calls through one bulkhead, and judges them by some of the rules: the earliest breach is told."""

    rules: tuple[Rule, ...] = ()

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        _Player(answer, scenario["limits"], world).play(scenario["calls"])

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        _complete(scenario["calls"], history)
        found = [each for rule in self.rules for each in rule(scenario["limits"], history)]
        if found:
            raise min(found, key=lambda each: each[0])[1]

    def describe(self, scenario: dict[str, Any]) -> str:
        calls: list[str] = []
        for step in sorted(scenario["calls"], key=lambda step: step["at"]):
            words = f"at {step['at']:g} s a call ({_call_in_words(step)})"
            if calls and calls[-1].split(" ×")[0] == words:
                times = int(calls.pop().partition(" ×")[2] or 1)
                words += f" ×{times + 1}"
            calls.append(words)
        return f"{_limits_in_words(scenario['limits'])}: " + " → ".join(calls)


def _filling(places: int, room: int) -> dict[str, Any]:
    """Calls come one by one until two are refused; when all have ended, one more comes."""
    calls = [_call(float(at), 9 + _SIXTEENTH) for at in range(places + room + 2)]
    others = [places + 1, room + 1]
    limits = {"basic": others, "free": [places, room], "premium": others}
    return {"limits": limits, "calls": [*calls, _call(60.0, 1 + _SIXTEENTH)]}


class PlacesThenWaitingRoomThenFull(_BulkheadCheck):
    """`max_concurrent` calls run side by side, `max_waiting` more wait for a place, the next is refused at once."""

    hint = _PERMITS
    rules = (_too_many, _entrance, _idle_places)
    scenarios = st.builds(_filling, st.integers(1, 3), st.integers(0, 3))
    examples = 8
    always = (_filling(1, 0), _filling(1, 1), _filling(2, 0), _filling(2, 1))


def _bursts(places: int, room: int, callers: int, times: int = 1) -> dict[str, Any]:
    """Two bursts of callers, who may ask again at once; the first have long ended when the second come."""
    endings = ["ok", "ValueError"]
    calls = [_call(at, 0.25, ends=endings[caller % 2], times=times) for at in (0.0, 4.0) for caller in range(callers)]
    return _scenario(places, room, calls)


def _overtaken() -> dict[str, Any]:
    """A caller asks again whenever its call ends, and may overtake the one that waits, which has a timeout."""
    waiting = [_call(at, 0.125, 1.5) for at in (1.0, 3.25, 5.5, 7.75)]
    return _scenario(1, 1, [_call(0.0, 2 + _SIXTEENTH, times=5), *waiting])


class LimitsHoldForCallersAtOnce(_BulkheadCheck):
    """However callers interleave: `max_concurrent` run at most, `max_waiting` wait at most, and none past its time."""

    hint = _PERMITS
    rules = (_too_many, _deadlines)
    scenarios = st.builds(_bursts, st.integers(1, 2), st.integers(0, 1), st.just(3), st.just(1))
    examples = 1
    interleavings = 24
    always = (_bursts(1, 0, 2), _bursts(1, 1, 3), _bursts(1, 1, 2, 2), _overtaken())

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        super().judge(scenario, history)
        places, room = scenario["limits"]["free"]
        for instant in sorted({event["t"] for event in history}):
            crowd = [(index, event) for index, event in enumerate(history) if event["t"] == instant]
            let_in = [index for index, event in crowd if event["began"] is not None or event["expired"]]
            if len(let_in) > places + room:
                raise Mismatch(
                    expected=f"{places + room} of the {len(crowd)} callers to be let in: "
                    f"{_count(places, 'place')}, waiting room for {room}",
                    observed=f"{len(let_in)} were let in",
                    at=let_in[-1],
                )


def _overdue(busy: float, timeout: float, lasts: float) -> dict[str, Any]:
    """A call that runs `busy` whole seconds and holds the only place; another waits for it from 1 s on."""
    first = [_call(0.0, busy + _SIXTEENTH)] if busy else []
    return _scenario(1, 1, [*first, _call(1.0, lasts + _SIXTEENTH, timeout + 0.5)])


class TimeoutCoversWaitingAndRunning(_BulkheadCheck):
    """After `timeout` seconds, waiting and running together, the caller gets TimeoutError; before, the outcome."""

    hint = _THREAD
    rules = (_deadlines,)
    scenarios = st.builds(
        lambda busy, timeout, lasts: _overdue(float(busy), float(timeout), float(lasts)),
        st.integers(0, 5),
        st.integers(1, 8),
        st.integers(0, 6),
    )
    examples = 12
    always = (_overdue(0, 2, 5), _overdue(0, 25, 20), _overdue(5, 2, 1), _overdue(3, 3, 4), _overdue(3, 5, 2))


def _leaving(places: int, room: int, leavers: int) -> dict[str, Any]:
    """Long calls hold the places; `leavers` wait and time out; then the waiting room is filled and one more comes."""
    calls = [_call(float(at), 20 + _SIXTEENTH) for at in range(places)]
    calls += [_call(3.0 + 2 * turn, 1 + _SIXTEENTH, 1.5) for turn in range(leavers)]
    calls += [_call(10.0 + turn, 1 + _SIXTEENTH) for turn in range(room + 1)]
    return _scenario(places, room, calls)


class TimedOutWaiterLeavesItsPlace(_BulkheadCheck):
    """A waiter that times out is gone: its place in the waiting room is free, and its function never runs."""

    hint = _LEAVING
    rules = (_ghosts, _entrance, _idle_places)
    scenarios = st.builds(_leaving, st.integers(1, 2), st.integers(1, 2), st.integers(1, 3))
    examples = 6
    always = (_leaving(1, 1, 1), _leaving(1, 1, 2), _leaving(2, 1, 1))


def _overrunning(places: int, room: int) -> dict[str, Any]:
    """All places are held by calls whose callers have given up; others come before these calls end, and after."""
    calls = [_call(float(at), 8 + _SIXTEENTH, 2.5) for at in range(places)]
    calls += [_call(4.0 + turn, 1 + _SIXTEENTH) for turn in range(room + 1)]
    calls += [_call(20.0 + turn, 5 + _SIXTEENTH) for turn in range(places)]
    return _scenario(places, room, calls)


class TimedOutCallKeepsItsPermit(_BulkheadCheck):
    """A call that times out while it runs keeps its permit until it ends, and then gives it back."""

    hint = _LEAVING
    rules = (_too_many, _entrance, _idle_places)
    scenarios = st.builds(_overrunning, st.integers(1, 2), st.integers(0, 2))
    examples = 5
    always = (_overrunning(1, 0), _overrunning(1, 1), _overrunning(2, 0))


def _failing(places: int, ends: str, failures: int) -> dict[str, Any]:
    """Calls fail one after another; then all places are needed, and one call more comes."""
    calls = [_call(float(at), _SIXTEENTH, ends=ends) for at in range(failures)]
    calls += [_call(8.0 + turn, 9 + _SIXTEENTH) for turn in range(places + 1)]
    return _scenario(places, 0, calls)


class PermitsComeBackAfterErrors(_BulkheadCheck):
    """A call that raises gives its permit back, once."""

    hint = _LEAVING
    rules = (_too_many, _entrance)
    scenarios = st.builds(_failing, st.integers(1, 3), st.sampled_from(_ERRORS), st.integers(1, 6))
    examples = 6
    always = (*(_failing(1, ends, 1) for ends in _ERRORS), _failing(2, "ValueError", 4))


def _asking_again(places: int, ends: str) -> dict[str, Any]:
    """As many callers as places; each asks again in the moment in which its call has come back."""
    return _scenario(places, 0, [_call(0.0, 0.25, ends=ends, times=2) for _ in range(places)])


class PermitIsBackBeforeTheOutcome(_BulkheadCheck):
    """When a caller has its outcome, the permit is back already: whoever asks again at once is not refused."""

    hint = _LEAVING
    scenarios = st.builds(_asking_again, st.integers(1, 2), st.sampled_from(["ok", "ValueError"]))
    examples = 3
    interleavings = 36
    always = (_asking_again(1, "ok"), _asking_again(1, "ValueError"))

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        _complete(scenario["calls"], history)
        places = scenario["limits"]["free"][0]
        for index, event in enumerate(history):
            if event["full"]:
                raise Mismatch(
                    expected=f"no call to be refused: {_count(places, 'caller')}, {_count(places, 'place')}",
                    observed=f"call {event['call']} got queue.Full at {event['t']:g} s",
                    at=index,
                )


def _flood(premium: list[int], free: list[int], callers: int) -> dict[str, Any]:
    extra = sum(free) + 3
    return {
        "limits": {"premium": premium, "free": free},
        "flood": [_call(turn / 32, 12 + _SIXTEENTH, 9.5, tenant="free") for turn in range(extra)],
        "calls": [_call(1.0 + turn / 4, 1 + _SIXTEENTH, tenant="premium") for turn in range(callers)],
    }


class PremiumDoesNotFeelFree(_BulkheadCheck):
    """While free floods its own places, premium waits as long as without the flood, and no call of it is lost."""

    hint = _PERMITS
    scenarios = st.builds(
        lambda places, room, free, free_room: _flood([places, room], [free, free_room], places + room),
        st.integers(1, 4),
        st.integers(0, 4),
        st.integers(1, 3),
        st.integers(0, 3),
    )
    examples = 6
    always = (_flood([1, 0], [1, 0], 1), _flood([1, 1], [1, 0], 2), _flood([3, 4], [2, 2], 7))

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        _Player(answer, scenario["limits"], world).play(scenario["calls"])
        world.record("a new bulkhead, and free's flood", flood=True)
        _Player(answer, scenario["limits"], world).play([*scenario["flood"], *scenario["calls"]])

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        flood = next((index for index, event in enumerate(history) if event.get("flood")), len(history))
        _complete(scenario["calls"], history[:flood])
        _complete([*scenario["flood"], *scenario["calls"]], history[flood + 1 :])
        alone = [event for event in history[:flood] if event["began"] is not None]
        beside = [
            (index, event) for index, event in enumerate(history) if index > flood and event["tenant"] == "premium"
        ]
        begun = [event for _, event in beside if event["began"] is not None]
        if len(begun) < len(alone):
            at, lost = next((index, event) for index, event in beside if event["began"] is None)
            raise Mismatch(
                expected=f"{_count(len(alone), 'call')} of premium to run, as without free's flood",
                observed=f"{len(begun)} ran: call {lost['call']} never began, {_got(lost)}",
                at=at,
            )
        without, with_it = _mean_wait(alone), _mean_wait(begun)
        if with_it > 1.05 * without + _TOLERANCE:
            raise Mismatch(
                expected=f"premium to wait {without:.3g} s on average, as without free's flood",
                observed=f"it waited {with_it:.3g} s",
                at=max(beside, key=lambda each: each[1]["began"] - each[1]["t"])[0],
            )

    def describe(self, scenario: dict[str, Any]) -> str:
        flood, calls = len(scenario["flood"]), len(scenario["calls"])
        return (
            f"{_limits_in_words(scenario['limits'])}: {_count(calls, 'call')} of premium, 4 a second, 1.06 s each; "
            f"first alone, then beside {flood} calls of free that run 12 s"
        )


def _mean_wait(calls: list[Event]) -> float:
    return sum(call["began"] - call["t"] for call in calls) / max(1, len(calls))


class OutcomeIsTheFunctionsOwn(_BulkheadCheck):
    """The caller gets the function's own value or its very exception, whichever type it has."""

    hint = _THREAD
    scenarios = st.fixed_dictionaries(
        {"ends": st.sampled_from([*_VALUES, *_ENDINGS]), "lasts": st.sampled_from([0.0, 1.0 + _SIXTEENTH])}
    )
    examples = 5
    always = (
        *({"ends": ends, "lasts": 0.0} for ends in (*_VALUES, *_ENDINGS)),
        {"ends": "an object", "lasts": 1.0 + _SIXTEENTH},
    )

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        player = _Player(answer, {"free": [1, 1]}, world)
        player.call(_call(0.0, scenario["lasts"], ends=scenario["ends"]), "1", _VALUES.get(scenario["ends"]))

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        _complete([_call(0.0, 0.0)], history)
        event, ends = history[0], scenario["ends"]
        if event["runs"] != 1:
            raise Mismatch(
                expected="the function to run once", observed=f"it ran {_count(event['runs'], 'time')}", at=0
            )
        if not event["own"]:
            what = (
                f"the very {ends} that the function raised"
                if ends in _ENDINGS
                else f"{ends}, which the function returned"
            )
            got = f"{event['error']}: {event['message']}" if event["outcome"] == "raised" else repr(event["value"])
            raise Mismatch(expected=f"the caller to get {what}", observed=f"it got {got}", at=0)

    def describe(self, scenario: dict[str, Any]) -> str:
        ends = scenario["ends"]
        return f"one call, whose function {'raises' if ends in _ENDINGS else 'returns'} {ends}"


class UnknownTenantIsRefused(_BulkheadCheck):
    """A tenant without a limit gets KeyError, and its function does not run."""

    hint = _PERMITS
    scenarios = st.fixed_dictionaries(
        {"tenant": st.sampled_from(["gold", "Free", "", "premium2"]), "busy": st.booleans()}
    )
    examples = 4
    always = ({"tenant": "gold", "busy": False}, {"tenant": "gold", "busy": True})

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        player = _Player(answer, {"premium": [2, 1], "free": [1, 0]}, world)
        player.play(self._calls(scenario))

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        _complete(self._calls(scenario), history)
        at, event = len(history) - 1, history[-1]
        if event["runs"]:
            raise Mismatch(expected="KeyError, without running the function", observed=f"it ran; {_got(event)}", at=at)
        if "KeyError" not in event.get("bases", ()):
            raise Mismatch(expected="KeyError", observed=_got(event), at=at)

    def describe(self, scenario: dict[str, Any]) -> str:
        busy = ", while free's only place is taken" if scenario["busy"] else ""
        return f"limits for premium and free; a call of tenant {scenario['tenant']!r}{busy}"

    @staticmethod
    def _calls(scenario: dict[str, Any]) -> list[Step]:
        busy = [_call(0.0, 5 + _SIXTEENTH)] if scenario["busy"] else []
        return [*busy, _call(1.0, 1 + _SIXTEENTH, 20.5, tenant=scenario["tenant"])]
