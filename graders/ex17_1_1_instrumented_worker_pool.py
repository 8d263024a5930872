"""The checks of 17.1.1: what an instrumented pool says about itself, beside what its tasks and its callers saw.

Invariant: every design that keeps the stated rules passes, whatever it counts with and whoever runs its tasks. So a
judge takes the tasks as the answer ran them, works out what is true at an instant, and compares what a scrape of the
registry and a snapshot said at that instant.

A look stands where nothing happens: tasks come on quarters of a second and end on sixteenths, looks are between them,
and nothing ends within 1 s of the edge of a window that is looked at.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from graders.kit import Check, Event, History, Mismatch, World
from shared.observability.contracts import Saturated

REFERENCE = ("shared.observability.instrumented_worker_pool", "shared.observability.sliding_histogram")

_GAUGES = "Hint 1: who writes what, and when"
_ORDER = "Hint 2: the shape of one task"
_WINDOWS = "Hint 3: what to forget"

_TOLERANCE = 0.05
"""Seconds by which a task may begin late: an answer may look around from time to time."""
_SIXTEENTH = 1 / 16
_ODD = 5 / 32
"""Where a look stands between whole seconds when tasks begin and end on any sixteenth."""
_RELATIVE = 0.032
_FIRST_BOUNDS = [0.001, 0.002, 0.005, 0.01, 0.025]
_OUTCOMES = ("ok", "failed", "cancelled")
_SERIES = {
    "worker_pool_queue_size": "gauge",
    "worker_pool_workers_active": "gauge",
    "worker_pool_tasks_total": "counter",
    "worker_pool_rejected_total": "counter",
    "worker_pool_task_duration_seconds_bucket": "histogram",
    "worker_pool_task_duration_seconds_count": "histogram",
    "worker_pool_task_duration_seconds_sum": "histogram",
}
_DURATION = "worker_pool_task_duration_seconds"


class _Alarm(BaseException):
    """What is no Exception, and no signal either."""


_ENDINGS: dict[str, type[BaseException]] = {
    "ValueError": ValueError,
    "OSError": OSError,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": SystemExit,
    "a BaseException": _Alarm,
}
_ERRORS = list(_ENDINGS)

Step = dict[str, Any]
Task = dict[str, Any]


# Scenarios


def _submit(at: float, *lasts: float, ends: str = "ok", gap: float = 0.25) -> Step:
    """Tasks submitted `gap` seconds apart, one for each of `lasts`, the seconds that it runs."""
    return {"do": "submit", "at": at, "lasts": list(lasts), "ends": ends, "gap": gap}


def _look(at: float) -> Step:
    return {"do": "look", "at": at}


def _cancel(at: float, *tasks: int) -> Step:
    """Cancel tasks, by their numbers from 1 on."""
    return {"do": "cancel", "at": at, "tasks": list(tasks)}


def _pool(workers: int, queue_size: int, steps: Iterable[Step], clock: bool = True) -> dict[str, Any]:
    ordered = sorted(steps, key=lambda step: step["at"])
    return {"workers": workers, "queue_size": queue_size, "clock": clock, "steps": ordered}


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}" if number == 1 else f"{number:g} {noun}s"


def _in_words(step: Step) -> str:
    if step["do"] == "submit":
        lasts = step["lasts"]
        times = [f"{each:g}" for each in (lasts if len(lasts) <= 3 or len(set(lasts)) > 1 else lasts[:1])]
        told = ", ".join(times[:3]) + (f", … {times[-1]}" if len(times) > 3 else "")
        what = f"{_count(len(lasts), 'task')} of {told} s"
        end = "end" if len(lasts) > 1 else "ends"
        return what if step["ends"] == "ok" else f"{what} that {end} with {step['ends']}"
    if step["do"] == "cancel":
        return f"task {', '.join(map(str, step['tasks']))} cancelled"
    return {"look": "a scrape and a snapshot", "shutdown": "shutdown"}[step["do"]]


# Beside the answer


class _Player:
    """Does the steps of a scenario, each as one event. Every task writes into its own mark when it began and ended."""

    def __init__(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        self._world = world
        self._registry = CollectorRegistry()
        clock = (world.clock,) if scenario.get("clock", True) else ()
        self._pool = answer(scenario["workers"], scenario["queue_size"], self._registry, *clock)
        self._tasks: list[tuple[Task, Future[Any] | None, BaseException | None, object]] = []
        self._events: list[tuple[Event, int, int]] = []

    def play(self, steps: list[Step]) -> None:
        do: dict[str, Callable[[Step], Any]] = {
            "submit": self._submit_all,
            "look": lambda _: self.look(),
            "cancel": self._cancel,
            "shutdown": lambda _: self._pool.shutdown(),
        }
        start = self._world.now
        for step in steps:
            if (wait := start + step["at"] - self._world.now) > 0:
                self._world.sleep(wait)
            before = len(self._tasks)
            event = self._world.call(_in_words(step), do[step["do"]], step)
            event["did"] = step["do"]
            if step["do"] == "look" and event["outcome"] == "returned":
                event.update(saw=event["value"], value=None, kind="note")
            if step["do"] == "submit":
                self._events.append((event, before, len(self._tasks)))
        self._world.sleep(1.0)
        for event, first, last in self._events:
            self._tell(event, first, last)

    def look(self) -> dict[str, Any]:
        """What Prometheus would read, and what the pool says itself."""
        samples = _samples(generate_latest(self._registry).decode())
        snapshot = self._pool.snapshot()
        told = {name: float(getattr(snapshot, name)) for name in ("queued", "active", "idle", "failed_5m")}
        p99 = None if snapshot.p99_60s is None else float(snapshot.p99_60s)
        return {"samples": samples, "snapshot": {**told, "p99_60s": p99, "rejecting": bool(snapshot.rejecting)}}

    def submit(self, lasts: float, ends: str, meanwhile: Callable[[], object] | None = None) -> Future[Any] | None:
        """Submit one task and mark how that went. The task calls `meanwhile` before it ends."""
        value, error = object(), _ENDINGS[ends]("from the task") if ends in _ENDINGS else None
        mark: Task = {"at": self._world.now, "accepted": False, "error": None, "ends": ends, "runs": 0}
        mark.update(began=None, ended=None, cancelled=None)

        def task(seconds: float, result: object) -> object:
            mark["runs"] += 1
            mark["began"] = self._world.now
            if seconds:
                self._world.sleep(seconds)
            if meanwhile is not None:
                meanwhile()
            mark["ended"] = self._world.now
            if error is not None:
                raise error
            return result

        future: Future[Any] | None = None
        try:
            future = self._pool.submit(task, lasts, value)
            mark["accepted"] = True
        except NotImplementedError:
            raise
        except Exception as refusal:
            named = [base.__name__ for base in (Saturated, RuntimeError) if isinstance(refusal, base)]
            mark["error"] = named[0] if named else type(refusal).__name__
        mark["until"] = self._world.now
        self._tasks.append((mark, future, error, value))
        return future

    def tell(self, event: Event) -> None:
        """Put the marks of all tasks into `event`."""
        self._tell(event, 0, len(self._tasks))

    def _submit_all(self, step: Step) -> None:
        for lasts in step["lasts"]:
            self.submit(lasts, step["ends"])
            self._world.sleep(step["gap"])

    def _cancel(self, step: Step) -> None:
        for number in step["tasks"]:
            mark, future, _, _ = self._tasks[number - 1]
            if future is not None and future.cancel():
                mark["cancelled"] = self._world.now

    def _tell(self, event: Event, first: int, last: int) -> None:
        marks = [{**mark, "got": _got(future, error, value)} for mark, future, error, value in self._tasks[first:last]]
        event["tasks"] = marks
        if any(mark["error"] for mark in marks):
            event["kind"] = "rejected"


@functools.lru_cache(maxsize=4096)
def _samples(text: str) -> list[list[Any]]:
    """The samples of the stated metrics in a scrape. Kept: under many schedules most scrapes are the same text."""
    return [
        [family.type, sample.name, sample.labels, sample.value]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in _SERIES
    ]


def _got(future: Any, error: BaseException | None, value: object) -> str:
    """What the Future holds, beside what its task returned or raised."""
    if future is None:
        return "nothing"
    if future.cancelled():
        return "cancelled"
    if not future.done():
        return "no outcome"
    raised = future.exception()
    if raised is None:
        return "its own" if error is None and future.result() is value else "another value"
    return "its own" if raised is error else type(raised).__name__


# In the examiner


class _Seen:
    """One look: the samples of a scrape and a snapshot. An absent series is 0, and labels too many are summed over."""

    def __init__(self, event: Event, index: int) -> None:
        self.at, self.t = index, event["t"]
        self.samples: list[tuple[str, str, dict[str, str], Any]] = [tuple(each) for each in event["saw"]["samples"]]
        self.snapshot: dict[str, Any] = event["saw"]["snapshot"]

    def value(self, name: str, **labels: str) -> Any:
        return sum(value for _, series, has, value in self.samples if series == name and labels.items() <= has.items())

    def outcomes(self) -> dict[str, Any]:
        return {name: self.value("worker_pool_tasks_total", outcome=name) for name in _OUTCOMES}

    def all_tasks(self) -> Any:
        return sum(value for _, series, _, value in self.samples if series == "worker_pool_tasks_total")

    def buckets(self) -> list[tuple[float, Any]]:
        return [(float(has["le"]), value) for _, name, has, value in self.samples if name == f"{_DURATION}_bucket"]

    def expect(self, what: str, expected: Any, observed: Any, why: str = "") -> None:
        """Raise Mismatch unless the two are equal."""
        if expected != observed:
            because = f": {why}" if why else ""
            raise Mismatch(
                expected=f"{what} = {_number(expected)} at {self.t:g} s{because}",
                observed=f"{what} = {_number(observed)}",
                at=self.at,
            )


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _complete(scenario: dict[str, Any], history: History) -> None:
    """Every step is in the record with its outcome and its tasks: less than that shows nothing."""
    steps = scenario["steps"]
    told = [
        event
        for step, event in zip(steps, history, strict=False)
        if event.get("did") == step["do"]
        and "outcome" in event
        and (step["do"] != "submit" or len(event.get("tasks", ())) == len(step["lasts"]))
        and (step["do"] != "look" or event["outcome"] == "raised" or "saw" in event)
    ]
    if not len(steps) == len(told) == len(history):
        raise Mismatch(
            expected=f"a record of {_count(len(steps), 'step')}, each with its outcome", observed=f"one of {len(told)}"
        )
    for index, (step, event) in enumerate(zip(steps, history, strict=True)):
        if event["outcome"] == "raised":
            raise Mismatch(
                expected=f"{_in_words(step)} to go well",
                observed=f"it raised {event['error']}: {event['message']}",
                at=index,
            )


def _tasks(history: History) -> list[Task]:
    return [task for event in history for task in event.get("tasks", ())]


def _looks(history: History) -> Iterator[_Seen]:
    return (_Seen(event, index) for index, event in enumerate(history) if event.get("did") == "look")


def _waiting(tasks: list[Task], instant: float) -> int:
    """Accepted, not started and not cancelled."""
    return sum(
        task["accepted"]
        and task["at"] < instant
        and (task["began"] is None or task["began"] > instant)
        and (task["cancelled"] is None or task["cancelled"] > instant)
        for task in tasks
    )


def _running(tasks: list[Task], instant: float) -> int:
    return sum(
        task["began"] is not None and task["began"] <= instant and (task["ended"] is None or task["ended"] > instant)
        for task in tasks
    )


def _ended(tasks: list[Task], instant: float, oldest: float = -math.inf) -> list[Task]:
    """The tasks that ended after `oldest` and up to `instant`."""
    return [task for task in tasks if task["ended"] is not None and oldest < task["ended"] <= instant]


def _failed(tasks: Iterable[Task]) -> int:
    return sum(task["ends"] != "ok" for task in tasks)


def _refused(tasks: list[Task], instant: float = math.inf) -> list[Task]:
    return [task for task in tasks if task["error"] == "Saturated" and task["at"] < instant]


def _expect_outcomes(seen: _Seen, tasks: list[Task]) -> None:
    """All tasks have ended: each accepted one is in one outcome, and refused ones are in none."""
    ended, cancelled = _ended(tasks, seen.t), sum(task["cancelled"] is not None for task in tasks)
    failed = _failed(ended)
    expected = {"ok": len(ended) - failed, "failed": failed, "cancelled": cancelled}
    why = f"{_count(expected['ok'], 'task')} returned, {failed} raised, {cancelled} were cancelled before they started"
    for outcome, observed in seen.outcomes().items():
        seen.expect(f'worker_pool_tasks_total{{outcome="{outcome}"}}', expected[outcome], observed, why)
    accepted = sum(task["accepted"] for task in tasks)
    seen.expect("the sum of worker_pool_tasks_total", accepted, seen.all_tasks(), f"{accepted} were accepted")


def _expect_gauges(seen: _Seen, workers: int, tasks: list[Task]) -> None:
    waiting, running = _waiting(tasks, seen.t), _running(tasks, seen.t)
    why = f"{_count(waiting, 'task')} wait, {running} run in {_count(workers, 'worker')}"
    seen.expect("worker_pool_queue_size", waiting, seen.value("worker_pool_queue_size"), why)
    seen.expect("worker_pool_workers_active", running, seen.value("worker_pool_workers_active"), why)
    for name, expected in {"queued": waiting, "active": running, "idle": workers - running}.items():
        seen.expect(f"snapshot().{name}", expected, seen.snapshot[name], why)


class _PoolCheck(Check):
    """Plays the steps of a scenario on one pool, and judges what it saw."""

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        _Player(answer, scenario, world).play(scenario["steps"])

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        _complete(scenario, history)
        self.verdict(scenario, history, _tasks(history))

    def verdict(self, scenario: dict[str, Any], history: History, tasks: list[Task]) -> None:
        """Raise Mismatch where a complete history breaks the property."""
        raise NotImplementedError

    def describe(self, scenario: dict[str, Any]) -> str:
        steps = [f"at {step['at']:g} s {_in_words(step)}" for step in scenario["steps"] if step["do"] != "look"]
        return f"{_count(scenario['workers'], 'worker')}, queue_size {scenario['queue_size']}: " + " → ".join(steps)


def _filling(workers: int, queue_size: int, clock: bool = True) -> dict[str, Any]:
    """Tasks come one by one until two are refused; later one of each ending; then some, and shutdown."""
    steps = [_submit(0.0, *[9 + _SIXTEENTH] * (workers + queue_size + 2))]
    steps += [_submit(60.0 + turn, 0.0, ends=ends) for turn, ends in enumerate(["ok", "ValueError", "a BaseException"])]
    steps += [_submit(70.0, *[3 + _SIXTEENTH] * (workers + queue_size)), {"do": "shutdown", "at": 73.0}]
    return _pool(workers, queue_size, [*steps, _submit(120.0, 1.0)], clock)


class BehavesLikeThePlainPool(_PoolCheck):
    """Tasks run, wait, are refused with Saturated and end in their Futures as in the plain WorkerPool."""

    hint = _GAUGES
    scenarios = st.builds(_filling, st.integers(1, 3), st.integers(1, 3), st.booleans())
    examples = 5
    always = (_filling(1, 1), _filling(2, 1, clock=False), _filling(2, 2))

    def verdict(self, scenario: dict[str, Any], history: History, tasks: list[Task]) -> None:
        workers, queue_size = scenario["workers"], scenario["queue_size"]
        at = [index for index, event in enumerate(history) for _ in event.get("tasks", ())]
        for number, (task, index) in enumerate(zip(tasks, at, strict=True)):
            instant, earlier = task["at"], tasks[:number]
            running, waiting = _running(earlier, instant), _waiting(earlier, instant)
            name = f"task {number + 1}, submitted at {instant:g} s,"
            room = f"{running} of {_count(workers, 'worker')} are busy, {waiting} of {queue_size} wait"
            if index == len(history) - 1:
                if task["error"] != "RuntimeError":
                    told = task["error"] or "it was accepted"
                    raise Mismatch(
                        expected=f"{name} to be refused with RuntimeError: the pool was shut down",
                        observed=told,
                        at=index,
                    )
            elif running >= workers and waiting >= queue_size:
                if task["error"] != "Saturated" or task["until"] > instant + _TOLERANCE:
                    told = f"it got {task['error']} at {task['until']:g} s" if task["error"] else "it was accepted"
                    raise Mismatch(
                        expected=f"{name} to be refused with Saturated, at once: {room}", observed=told, at=index
                    )
            elif not task["accepted"]:
                raise Mismatch(expected=f"{name} to be accepted: {room}", observed=f"it got {task['error']}", at=index)
            elif running < workers and (task["began"] is None or task["began"] > instant + _TOLERANCE):
                told = "it never began" if task["began"] is None else f"it began at {task['began']:g} s"
                raise Mismatch(expected=f"{name} to begin at once: {room}", observed=told, at=index)
            elif task["ended"] is None or task["runs"] != 1:
                raise Mismatch(
                    expected=f"{name} to run, once: it was accepted",
                    observed=f"it ran {_count(task['runs'], 'time')}",
                    at=index,
                )
            elif task["got"] != "its own":
                own = "the value that it returned" if task["ends"] == "ok" else f"the very {task['ends']} it raised"
                raise Mismatch(
                    expected=f"the Future of {name} to hold {own}", observed=f"it holds {task['got']}", at=index
                )


def _rising(workers: int, waiting: int, lasts: int) -> dict[str, Any]:
    """Tasks come faster than they end; looks while they wait, while the last ones run, and when all is over."""
    count = workers + waiting
    runs = [lasts + 2 * turn + _SIXTEENTH for turn in range(count)]
    over = 10.0 + sum(runs)
    looks = [_ODD, *(over * part // 1 + _ODD for part in (0.1, 0.3, 0.5, 0.7)), over + _ODD]
    return _pool(workers, waiting + 2, [_submit(0.25, *runs), *map(_look, looks), _submit(over + 3, 1.0)])


class GaugesFollowThePool(_PoolCheck):
    """The gauges and the snapshot tell how many tasks wait and how many workers run one, and go back to 0."""

    hint = _GAUGES
    scenarios = st.builds(_rising, st.integers(1, 4), st.integers(0, 5), st.integers(4, 9))
    examples = 6
    always = (_rising(1, 0, 4), _rising(1, 2, 4), _rising(2, 3, 5))

    def verdict(self, scenario: dict[str, Any], history: History, tasks: list[Task]) -> None:
        for seen in _looks(history):
            _expect_gauges(seen, scenario["workers"], tasks)


def _mixed(workers: int, endings: list[str], cancelled: int) -> dict[str, Any]:
    """Tasks with each ending; then all workers are busy, some tasks wait, and `cancelled` of them are cancelled."""
    steps = [_submit(turn / 4, _SIXTEENTH, ends=ends) for turn, ends in enumerate(endings)]
    busy, first = 5.0, len(endings) + 1
    steps.append(_submit(busy, *[20 + _SIXTEENTH] * workers, *[_SIXTEENTH] * (cancelled + 1)))
    if cancelled:
        steps.append(_cancel(busy + 10, *range(first + workers, first + workers + cancelled)))
    return _pool(workers, cancelled + 4, [*steps, _look(4.125), _look(100.125)])


class EveryTaskHasOneOutcome(_PoolCheck):
    """At rest every accepted task is counted once: as ok, as failed whatever it raised, or as cancelled."""

    hint = _ORDER
    scenarios = st.builds(
        _mixed,
        st.integers(1, 3),
        st.lists(st.sampled_from(["ok", *_ERRORS]), min_size=1, max_size=6),
        st.integers(0, 3),
    )
    examples = 8
    always = (
        _mixed(1, ["ok"], 0),
        _mixed(1, ["ValueError"], 0),
        *(_mixed(1, [ends, "ok"], 0) for ends in ("KeyboardInterrupt", "SystemExit", "a BaseException")),
        _mixed(1, ["ok"], 1),
        _mixed(2, ["ok", "OSError", "SystemExit"], 2),
    )

    def verdict(self, scenario: dict[str, Any], history: History, tasks: list[Task]) -> None:
        for seen in _looks(history):
            so_far = [task for task in tasks if task["at"] < seen.t]
            _expect_outcomes(seen, so_far)
            why = f"{_count(len(so_far), 'task')} ended or cancelled, none waits"
            seen.expect("worker_pool_queue_size", 0, seen.value("worker_pool_queue_size"), why)
            seen.expect("snapshot().queued", 0, seen.snapshot["queued"], why)


def _overloaded(workers: int, queue_size: int, refused: int) -> dict[str, Any]:
    """More tasks than fit, twice; looks while the pool is full, and when all is over."""
    lasts = [12 + _SIXTEENTH] * (workers + queue_size + refused)
    full = 1.125 + len(lasts) // 4
    over = 40.0 + 13 * (queue_size + 1)
    return _pool(
        workers,
        queue_size,
        [_submit(0.0, *lasts), _look(full), _look(over + 0.125), _submit(over + 1, *lasts), _look(3 * over + 0.125)],
    )


def _too_late(workers: int, late: int) -> dict[str, Any]:
    """Tasks after shutdown, which the pool refuses with RuntimeError: no metric has heard of them."""
    steps = [_submit(0.0, *[2 + _SIXTEENTH] * workers), {"do": "shutdown", "at": 5.0}]
    return _pool(workers, 2, [*steps, _submit(10.0, *[1.0] * late), _look(20.125)])


class RefusedTasksAreOnlyRefused(_PoolCheck):
    """A task refused with Saturated counts in worker_pool_rejected_total alone, one refused after shutdown nowhere."""

    hint = _GAUGES
    scenarios = st.builds(_overloaded, st.integers(1, 2), st.integers(1, 3), st.integers(1, 5))
    examples = 6
    always = (_overloaded(1, 1, 1), _overloaded(2, 1, 3), _too_late(1, 1))

    def verdict(self, scenario: dict[str, Any], history: History, tasks: list[Task]) -> None:
        for seen in _looks(history):
            so_far = [task for task in tasks if task["at"] < seen.t]
            refused, waiting = len(_refused(so_far)), _waiting(so_far, seen.t)
            late = len(so_far) - refused - sum(task["accepted"] for task in so_far)
            why = f"{refused} of {_count(len(so_far), 'task')} were refused with Saturated"
            why += f", and {late} after shutdown" if late else ""
            seen.expect("worker_pool_rejected_total", refused, seen.value("worker_pool_rejected_total"), why)
            seen.expect("worker_pool_queue_size", waiting, seen.value("worker_pool_queue_size"), why)
            seen.expect("snapshot().queued", waiting, seen.snapshot["queued"], why)
            ended = _ended(so_far, seen.t)
            seen.expect("the sum of worker_pool_tasks_total", len(ended), seen.all_tasks(), why)
            seen.expect(f"{_DURATION}_count", len(ended), seen.value(f"{_DURATION}_count"), why)


def _refusing(lasts: int, pauses: list[int]) -> dict[str, Any]:
    """Bursts of which a task or more is refused, `pauses` seconds apart; looks on both sides of 60 s after each."""
    steps, at = [_look(0.125)], 1.0
    for pause in [*pauses, 80]:
        steps += [_submit(at, *[lasts + _SIXTEENTH] * 4), _look(at + 2.125)]
        refused = at + 0.75
        steps += [_look(refused + 45.375), _look(refused + 58.375)]
        steps += [_look(refused + 61.375)] if pause >= 62 else []
        at += pause
    return _pool(1, 2, steps)


class RejectingMeansInTheLastMinute(_PoolCheck):
    """`rejecting` is True for 60 s after a task was refused, and False before and after."""

    hint = _WINDOWS
    scenarios = st.builds(_refusing, st.integers(4, 12), st.lists(st.integers(62, 200), max_size=2))
    examples = 6
    always = (_refusing(5, []), _refusing(12, [100]), _refusing(30, [400]))

    def verdict(self, scenario: dict[str, Any], history: History, tasks: list[Task]) -> None:
        for seen in _looks(history):
            refused = _refused(tasks, seen.t)
            last = refused[-1]["at"] if refused else -math.inf
            if abs(seen.t - last - 60) <= 1:
                continue
            why = f"the last refusal was {seen.t - last:g} s ago" if refused else "no task was refused so far"
            seen.expect("snapshot().rejecting", seen.t - last < 60, seen.snapshot["rejecting"], why)


def _timed(workers: int, lasts: list[float], ends: str, cancelled: bool) -> dict[str, Any]:
    """All tasks at once, so that most wait before they run; the last may be cancelled while it waits."""
    over = 10.0 + math.ceil(sum(lasts))
    steps = [_submit(0.0, *lasts, gap=0.0), _submit(over, *lasts[:2], ends=ends, gap=0.0)]
    if cancelled:
        blocked = over + 10.0
        number = len(lasts) + len(lasts[:2]) + workers + 1
        steps += [_submit(blocked, *[9 + _SIXTEENTH] * workers, _SIXTEENTH), _cancel(blocked + 5, number)]
    end = 3 * over + 60.125
    return _pool(workers, len(lasts) + 3, [*steps, _look(over - 0.125), _look(end)])


_LASTS = [0.0007, 0.0013, 0.0035, 0.007, 0.018, 0.03, 0.3, 0.7, 1.7, 4.3, 70.0]


class DurationsAreRunTimes(_PoolCheck):
    """The histogram holds the run time of every task that ended, without its wait, in the stated buckets."""

    hint = _ORDER
    scenarios = st.builds(
        _timed,
        st.integers(1, 3),
        st.lists(st.sampled_from(_LASTS), min_size=2, max_size=8),
        st.sampled_from(_ERRORS),
        st.booleans(),
    )
    examples = 6
    always = (
        _timed(1, [0.7, 0.7], "ValueError", False),
        _timed(1, [1.7, 0.3], "ValueError", True),
        _timed(2, _LASTS, "SystemExit", True),
    )

    def verdict(self, scenario: dict[str, Any], history: History, tasks: list[Task]) -> None:
        for seen in _looks(history):
            durations = [task["ended"] - task["began"] for task in _ended(tasks, seen.t)]
            buckets = seen.buckets()
            bounds = [bound for bound, _ in buckets]
            if bounds[: len(_FIRST_BOUNDS)] != _FIRST_BOUNDS or bounds != sorted(set(bounds)) or bounds[-1] != math.inf:
                raise Mismatch(
                    expected="buckets with le 0.001, 0.002, 0.005, 0.01, 0.025, then increasing ones, up to +Inf",
                    observed=", ".join(f"{bound:g}" for bound in bounds) or "no buckets",
                    at=seen.at,
                )
            why = f"{_count(len(durations), 'task')} ended"
            seen.expect(f"{_DURATION}_count", len(durations), seen.value(f"{_DURATION}_count"), why)
            total = seen.value(f"{_DURATION}_sum")
            if not abs(total - sum(durations)) <= 1e-6 * (1 + sum(durations)):
                told = ", ".join(f"{each:.4g}" for each in durations[:4]) + (", …" if len(durations) > 4 else "")
                seen.expect(f"{_DURATION}_sum", round(sum(durations), 6), total, f"the tasks ran for {told} s")
            for bound, observed in buckets:
                fewest, most = (sum(each <= bound * (1 + tie) for each in durations) for tie in (-1e-6, 1e-6))
                if not fewest <= observed <= most:
                    seen.expect(f'{_DURATION}_bucket{{le="{bound:g}"}}', fewest, observed, why)


def _nearest_rank(values: list[float]) -> float:
    return sorted(values)[-(-99 * len(values) // 100) - 1]


def _minutes(batches: list[tuple[float, list[float], str]], looks: list[float], workers: int = 4) -> dict[str, Any]:
    """Batches of tasks at their instants, and looks."""
    steps = [_submit(at, *lasts, ends=ends, gap=1 / 256) for at, lasts, ends in batches]
    return _pool(workers, 400, [*steps, *map(_look, looks)])


def _ramp(count: int, unit: float) -> list[float]:
    """`count` durations, all different, the last two far apart: one rank more or less shows."""
    return [unit * (1 + turn / count) for turn in range(count - 2)] + [3 * unit, 9 * unit]


def _old_and_new(count: int, unit: float, pause: int, slower: bool) -> dict[str, Any]:
    """A batch, and `pause` seconds later one that is ten times slower or quicker; then silence."""
    second = 10.0 + pause
    lasts = _ramp(count, unit)
    factor = 10.0 if slower else 0.1
    looks = [0.125, 20.125, second + 10.125, second + 49.125, second + 90.125]
    return _minutes([(1.0, lasts, "ok"), (second, [factor * each for each in lasts], "ok")], looks)


class P99IsOfTheLastMinute(_PoolCheck):
    """`p99_60s` is the 99th percentile of the tasks that ended in the last 60 s, and None where there are none."""

    hint = _WINDOWS
    scenarios = st.builds(
        _old_and_new,
        st.integers(3, 60),
        st.sampled_from([0.0003, 0.002, 0.0171]),
        st.sampled_from([80, 300]),
        st.booleans(),
    )
    examples = 4
    always = (
        _minutes([(1.0, [0.25], "ok")], [0.125, 10.125, 90.125], workers=1),
        _minutes([(1.0, [0.25], "ValueError")], [10.125], workers=1),
        _minutes([(1.0, _ramp(100, 0.002), "ok")], [10.125]),
        _minutes([(1.0, _ramp(200, 0.002), "ok")], [10.125]),
        _minutes([(1.0, [70.0], "ok")], [80.125], workers=1),
        _minutes([(1.0, [2 + _SIXTEENTH] * 3, "ok"), (40.0, [0.5] * 3, "ok")], [20.125, 50.125, 75.125, 120.125], 1),
        _old_and_new(5, 0.0171, 80, False),
    )

    def verdict(self, scenario: dict[str, Any], history: History, tasks: list[Task]) -> None:
        for seen in _looks(history):
            certain = _ended(tasks, seen.t, seen.t - 59)
            if len(certain) != len(_ended(tasks, seen.t, seen.t - 61)):
                continue  # an answer whose tasks end at the window's edge may count them or not
            durations = [task["ended"] - task["began"] for task in certain]
            observed = seen.snapshot["p99_60s"]
            if not durations:
                seen.expect("snapshot().p99_60s", None, observed, "no task ended in the last 60 s")
                continue
            expected = _nearest_rank(durations)
            if not isinstance(observed, float) or abs(observed - expected) > _RELATIVE * expected + 1e-7:
                rank = -(-99 * len(durations) // 100)
                raise Mismatch(
                    expected=f"snapshot().p99_60s within 3.2 % of {expected:.4g} s at {seen.t:g} s: the {_nth(rank)} "
                    f"smallest of {_count(len(durations), 'task')} that ended in the last 60 s",
                    observed=f"snapshot().p99_60s = {_number(observed)}",
                    at=seen.at,
                )


def _nth(rank: int) -> str:
    ending = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"


def _failures(bursts: list[tuple[int, str]], pause: int) -> dict[str, Any]:
    """Bursts of failing tasks, with good and refused ones among them; looks on both sides of 300 s after each."""
    steps, at, looks = [], 1.0, [0.125]
    for count, ends in bursts:
        steps += [_submit(at, *[_SIXTEENTH] * count, ends=ends), _submit(at + 8, _SIXTEENTH, _SIXTEENTH)]
        first, last = at + _SIXTEENTH, at + _SIXTEENTH + (count - 1) / 4
        looks += [at + 10.125, math.floor(first + 298) + 0.125, math.ceil(last + 302) + 0.125]
        at += pause
    return _pool(2, 8, [*steps, *map(_look, looks)])


def _failures_beside_others() -> dict[str, Any]:
    """One failure, one cancelled task, one refused: only the first failed."""
    steps = [_submit(0.0, _SIXTEENTH, ends="OSError"), _submit(1.0, *[9 + _SIXTEENTH] * 3, _SIXTEENTH), _cancel(5.0, 3)]
    return _pool(1, 2, [*steps, _look(60.125)])


class FailuresAreForgottenAfterFiveMinutes(_PoolCheck):
    """`failed_5m` counts the tasks that raised in the last 300 s, whatever they raised, and nothing else."""

    hint = _WINDOWS
    scenarios = st.builds(
        _failures,
        st.lists(st.tuples(st.integers(1, 5), st.sampled_from(_ERRORS)), min_size=1, max_size=3),
        st.sampled_from([100, 320, 700]),
    )
    examples = 6
    always = (
        _failures([(1, "ValueError")], 100),
        _failures([(1, "SystemExit")], 100),
        _failures([(3, "OSError"), (2, "a BaseException")], 100),
        _failures_beside_others(),
    )

    def verdict(self, scenario: dict[str, Any], history: History, tasks: list[Task]) -> None:
        for seen in _looks(history):
            fewest, most = (_failed(_ended(tasks, seen.t, seen.t - window)) for window in (299, 301))
            if not fewest <= seen.snapshot["failed_5m"] <= most:
                why = f"{_count(_failed(_ended(tasks, seen.t)), 'task')} raised so far, {most} in the last 300 s"
                seen.expect("snapshot().failed_5m", most, seen.snapshot["failed_5m"], why)


def _breaking(workers: int, ends: str) -> dict[str, Any]:
    """As many failing tasks as workers, twice; then as many good ones, which must run side by side."""
    failing = [_submit(at, *[1 + _SIXTEENTH] * workers, ends=ends) for at in (0.0, 10.0)]
    good = _submit(30.0, *[9 + _SIXTEENTH] * workers)
    return _pool(workers, workers + 1, [*failing, good, _look(20.125), _look(35.125), _look(60.125)])


class FailingTaskFreesItsWorker(_PoolCheck):
    """A task that raises, whatever it raises, gives its worker back: active falls, and the next tasks run."""

    hint = _ORDER
    scenarios = st.builds(_breaking, st.integers(1, 4), st.sampled_from(_ERRORS))
    examples = 5
    always = tuple(_breaking(workers, ends) for workers in (1, 2) for ends in ("ValueError", "SystemExit"))

    def verdict(self, scenario: dict[str, Any], history: History, tasks: list[Task]) -> None:
        workers = scenario["workers"]
        for seen in _looks(history):
            so_far = [task for task in tasks if task["at"] < seen.t]
            if 30 < seen.t < 39 and _running(so_far, seen.t) < workers:
                raise Mismatch(
                    expected=f"{_count(workers, 'task')} to run at {seen.t:g} s: {_count(2 * workers, 'task')} failed "
                    "before, and their workers are free",
                    observed=f"{_running(so_far, seen.t)} ran",
                    at=seen.at,
                )
            _expect_gauges(seen, workers, so_far)


def _watched(endings: list[str]) -> dict[str, Any]:
    return {"workers": 1, "queue_size": 2, "endings": endings}


class RecordedBeforeTheOutcomeIsKnown(Check):
    """Whoever has a task's outcome finds the task counted already, however threads interleave."""

    hint = _ORDER
    scenarios = st.builds(_watched, st.lists(st.sampled_from(["ok", "ValueError"]), min_size=1, max_size=2))
    examples = 1
    interleavings = 24
    always = (_watched(["ok"]), _watched(["ValueError"]))

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        player = _Player(answer, scenario, world)
        for number, ends in enumerate(scenario["endings"], 1):
            seen: dict[str, Any] = {}

            def wait_and_look(ends: str = ends, seen: dict[str, Any] = seen) -> None:
                future = player.submit(0.0, ends)
                if future is not None:
                    future.exception()
                    seen.update(player.look())

            event = world.call(f"task {number} ({ends}): its caller waits for the outcome, then looks", wait_and_look)
            event.update(saw=seen)
            player.tell(event)

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        endings = scenario["endings"]
        if len(history) != len(endings) or not all(
            "outcome" in event and "saw" in event and len(event.get("tasks", ())) == number
            for number, event in enumerate(history, 1)
        ):
            raise Mismatch(expected=f"a record of {_count(len(endings), 'task')}", observed="less than that")
        for index, event in enumerate(history):
            if not event["saw"]:
                told = f"{event['error']}: {event['message']}" if event["outcome"] == "raised" else "it was refused"
                raise Mismatch(expected="the task to be accepted, and a look to go well", observed=told, at=index)
            seen = _Seen(event, index)
            failed = _failed(event["tasks"])
            why = f"the caller has the outcome of {_count(index + 1, 'task')}"
            expected = {"ok": index + 1 - failed, "failed": failed}
            for outcome, count in expected.items():
                seen.expect(f'worker_pool_tasks_total{{outcome="{outcome}"}}', count, seen.outcomes()[outcome], why)
            seen.expect(f"{_DURATION}_count", index + 1, seen.value(f"{_DURATION}_count"), why)
            seen.expect("snapshot().failed_5m", failed, seen.snapshot["failed_5m"], why)
            seen.expect("snapshot().p99_60s", True, seen.snapshot["p99_60s"] is not None, why)

    def describe(self, scenario: dict[str, Any]) -> str:
        return f"1 worker, {_count(len(scenario['endings']), 'task')} ({', '.join(scenario['endings'])})"


def _crowd(workers: int, queue_size: int, endings: list[str], *, busy: bool = False) -> dict[str, Any]:
    """Callers at once, with a task each that looks, too. `busy`: a long task holds a worker, and nothing looks."""
    return {"workers": workers, "queue_size": queue_size, "endings": endings, "busy": busy, "rounds": 0}


def _in_step(workers: int, endings: list[str], rounds: int) -> dict[str, Any]:
    """Tasks of 1 s, as many as workers and `rounds` times as many: those of a round end at one instant."""
    tasks = endings * rounds
    return {"workers": workers, "queue_size": len(tasks), "endings": tasks, "busy": False, "rounds": rounds}


class CountsAreExactForThreadsAtOnce(Check):
    """However callers, workers and a scrape interleave, nothing is lost, nothing is negative, nothing is impossible."""

    hint = _GAUGES
    scenarios = st.builds(
        _in_step, st.just(2), st.lists(st.sampled_from(["ok", "ValueError"]), min_size=2, max_size=2), st.just(1)
    )
    examples = 1
    interleavings = 24
    always = (
        _crowd(2, 2, ["ok", "ok"]),
        _crowd(1, 1, ["ok", "ok", "ok"], busy=True),
        _in_step(2, ["ok", "ok"], 4),
        _in_step(2, ["ValueError", "ValueError"], 3),
    )

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        player = _Player(answer, scenario, world)
        if scenario["busy"]:
            player.submit(5.0, "ok")
            world.sleep(1.0)
        looks: list[Event] = []

        def look(what: str) -> None:
            looks.append(world.call(f"a scrape and a snapshot, {what}", player.look))

        for number, ends in enumerate(scenario["endings"], 1):
            if scenario["rounds"]:
                player.submit(1.0, ends)
                continue
            meanwhile = None if scenario["busy"] else functools.partial(look, f"out of task {number}")
            world.start(player.submit, 0.0, ends, meanwhile, name=f"caller {number}")
        for _ in range(scenario["rounds"]):
            world.sleep(1.0)  # until the very instant at which a round ends
            look("as tasks end")
        if not scenario["rounds"]:
            look("meanwhile")
        world.join()
        world.sleep(10.0)
        look("at rest")
        for event in looks:
            event.update(saw=event.get("value"), value=None)
        player.tell(looks[-1])

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        made = len(scenario["endings"]) + scenario["busy"]
        tasks: list[Task] = history[-1].get("tasks", []) if history else []
        looks = 1 + scenario["rounds"]
        if not scenario["rounds"]:
            looks = 2 + (0 if scenario["busy"] else sum(task["began"] is not None for task in tasks))
        if len(tasks) != made or not (
            looks == len(history) and all("outcome" in event and "saw" in event for event in history)
        ):
            raise Mismatch(
                expected=f"a record of {_count(made, 'task')} and {_count(looks, 'look')}", observed="less than that"
            )
        for index, event in enumerate(history):
            if event["outcome"] == "raised":
                raise Mismatch(
                    expected="a scrape and a snapshot to go well, while tasks come and end",
                    observed=f"{event['error']}: {event['message']}",
                    at=index,
                )
        *during, after = (_Seen(event, index) for index, event in enumerate(history))
        for seen in during:
            self._possible(scenario, seen)
        refused = len(_refused(tasks))
        _expect_gauges(after, scenario["workers"], tasks)
        _expect_outcomes(after, tasks)
        why = f"{refused} of {_count(made, 'task')} were refused"
        after.expect("worker_pool_rejected_total", refused, after.value("worker_pool_rejected_total"), why)
        ended = _ended(tasks, after.t)
        why = f"{_count(len(ended), 'task')} ended"
        after.expect(f"{_DURATION}_count", len(ended), after.value(f"{_DURATION}_count"), why)
        after.expect("snapshot().failed_5m", _failed(ended), after.snapshot["failed_5m"], why)
        after.expect("snapshot().p99_60s is None", not ended, after.snapshot["p99_60s"] is None, why)

    def _possible(self, scenario: dict[str, Any], seen: _Seen) -> None:
        """While threads are at work only bounds are certain."""
        workers, most = scenario["workers"], scenario["workers"] + scenario["queue_size"]
        told = {f"snapshot().{name}": (seen.snapshot[name], workers) for name in ("active", "idle")}
        told["snapshot().queued"] = seen.snapshot["queued"], most
        told["worker_pool_queue_size"] = seen.value("worker_pool_queue_size"), most
        told["worker_pool_workers_active"] = seen.value("worker_pool_workers_active"), workers
        for name, (observed, top) in told.items():
            if not 0 <= observed <= top:
                raise Mismatch(
                    expected=f"{name} from 0 to {top} at any time", observed=f"{name} = {_number(observed)}", at=seen.at
                )
        total = seen.snapshot["active"] + seen.snapshot["idle"]
        seen.expect("active + idle in one snapshot", workers, total, f"there are {_count(workers, 'worker')}")

    def describe(self, scenario: dict[str, Any]) -> str:
        sizes = f"{_count(scenario['workers'], 'worker')}, queue_size {scenario['queue_size']}"
        endings = ", ".join(scenario["endings"])
        if scenario["rounds"]:
            return f"{sizes}: {_count(len(scenario['endings']), 'task')} of 1 s ({endings}), and a scrape each second"
        busy = ", a task runs" if scenario["busy"] else ""
        return f"{sizes}{busy}: {_count(len(scenario['endings']), 'caller')} at once ({endings}), and a scrape"


def _scraped(workers: int, tasks: int) -> dict[str, Any]:
    steps = [_submit(0.0, *[9 + _SIXTEENTH] * (workers + 3)), _submit(50.0, *[_SIXTEENTH] * tasks, ends="OSError")]
    return _pool(workers, 2, [*steps, _look(5.125), _look(60.125)])


class PrometheusCanReadIt(_PoolCheck):
    """The registry yields gauges, counters and a histogram of the stated names and labels, and nothing is elsewhere."""

    hint = _GAUGES
    scenarios = st.builds(_scraped, st.integers(1, 3), st.integers(1, 3))
    examples = 3
    always = (_scraped(1, 1), _scraped(2, 2))

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        before = _names_elsewhere()
        super().drive(answer, scenario, world)
        world.record("what is registered elsewhere", names=sorted(_names_elsewhere() - before), outcome="returned")

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        if not history or "names" not in history[-1] or "outcome" not in history[-1]:
            raise Mismatch(expected="a record with what is registered elsewhere", observed="one without")
        super().judge(scenario, history[:-1])
        if names := history[-1]["names"]:
            raise Mismatch(
                expected="nothing to be registered outside the given registry",
                observed=f"{', '.join(names[:3])} in the default registry",
                at=len(history) - 1,
            )

    def verdict(self, scenario: dict[str, Any], history: History, tasks: list[Task]) -> None:
        names: set[str] = set()
        for seen in _looks(history):
            known: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
            for kind, name, labels, _ in seen.samples:
                series = name + ("{" + ", ".join(f'{key}="{has}"' for key, has in labels.items()) + "}") * bool(labels)
                if kind != _SERIES[name]:
                    raise Mismatch(expected=f"{name} to be a {_SERIES[name]}", observed=f"a {kind}", at=seen.at)
                wanted = {"worker_pool_tasks_total": {"outcome"}, f"{_DURATION}_bucket": {"le"}}.get(name, set())
                if set(labels) != wanted or labels.get("outcome", "ok") not in _OUTCOMES:
                    told = f"the label {', '.join(wanted)} alone" if wanted else "no label"
                    told += f" ({', '.join(_OUTCOMES)})" if "outcome" in wanted else ""
                    raise Mismatch(expected=f"{name} with {told}", observed=series, at=seen.at)
                if (key := (name, tuple(sorted(labels.items())))) in known:
                    raise Mismatch(expected=f"{series} once", observed="it is there twice", at=seen.at)
                known.add(key)
                names.add(name)
        if missing := [name for name in _SERIES if name not in names]:
            raise Mismatch(expected=f"{missing[0]} in a scrape", observed="it is not there", at=len(history) - 1)


def _names_elsewhere() -> set[str]:
    """The metrics of the default registry."""
    return {metric.name for metric in REGISTRY.collect()}
