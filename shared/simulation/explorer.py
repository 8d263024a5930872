"""Runs a program under controlled schedules, finds one that breaks it, and shrinks it to a few switches.

Invariant: whatever is reported has been replayed: the same program under the reported schedule fails the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import random
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

from shared.simulation.outcomes import Deadlock, Failure, Outcome, Schedule, Stuck, Switch
from shared.simulation.patches import Patches, forget_executor_threads
from shared.simulation.preemption import Preemption
from shared.simulation.scheduler import LEAK_GRACE_SECONDS, Scheduler, controlled
from shared.simulation.strategies import Strategy, few_preemptions, strategies
from shared.simulation.wording import error_text, interleaving

MAX_STEPS = 200_000
_GARBAGE = 20_000
"""Objects made since the last collection after which, between two runs, what became garbage is collected."""

P = ParamSpec("P")
T = TypeVar("T")

_one_at_a_time = threading.RLock()


class RunOnce(Protocol):
    """Runs the program of a `series` once more; the options are those of `run`."""

    def __call__(
        self,
        *,
        schedule: Schedule | None = None,
        strategy: Strategy | None = None,
        max_steps: int = MAX_STEPS,
        start: float = 0.0,
        thread_errors: bool = False,
        leaks: bool = False,
    ) -> Outcome: ...


def run(
    program: Callable[[], Any],
    *,
    schedule: Schedule | None = None,
    strategy: Strategy | None = None,
    answer: Iterable[Any] = (),
    preempt: bool = True,
    max_steps: int = MAX_STEPS,
    start: float = 0.0,
    thread_errors: bool = False,
    leaks: bool = False,
) -> Outcome:
    """Run `program()` once, in a controlled thread named "main".

    `schedule` replays deviations from the default order; `strategy` makes them. `answer` are functions, classes,
    objects or namespaces whose references to locks and clocks are controlled too, and whose code is preempted
    wherever it lives. With `preempt=False` threads switch only where they wait. `start` is the virtual clock's first
    reading in seconds. An uncaught exception of another thread, or a thread that does not end, is a failure only with
    `thread_errors` or `leaks`.

    Never raises what the program raises: see `Outcome.failure`. Runs of several threads wait for one another. The
    module `random` starts every run in the same state.
    """
    with series(program, answer=answer, preempt=preempt) as run_once:
        return run_once(
            schedule=schedule,
            strategy=strategy,
            max_steps=max_steps,
            start=start,
            thread_errors=thread_errors,
            leaks=leaks,
        )


@contextlib.contextmanager
def series(program: Callable[[], Any], *, answer: Iterable[Any] = (), preempt: bool = True) -> Iterator[RunOnce]:
    """Like `run`, for many runs of one program, which starts afresh each time: what controls it is set up once."""
    with _environment((program,), tuple(answer), preempt) as environment:
        yield functools.partial(environment.run, program)


class VirtualTime:
    """Runs code under a clock that moves only when every thread waits: an hour of sleeping takes no time.

    `now` is the virtual clock in seconds; it goes on from one run to the next.
    """

    def __init__(self, start: float = 0.0) -> None:
        self.now = start

    def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The value of `fn(*args, **kwargs)`, or what it raises; `Deadlock` or `Stuck` when it cannot end."""

        def program() -> T:
            return fn(*args, **kwargs)

        return self._run(program, (fn, *args, *kwargs.values()))

    def run_async(self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The value of awaiting `fn(*args, **kwargs)` on a virtual event loop; also inside a running loop."""

        def program() -> T:
            return asyncio.run(fn(*args, **kwargs))

        return self._run(program, (fn, *args, *kwargs.values()))

    def _run(self, program: Callable[[], T], parts: tuple[Any, ...]) -> T:
        with _environment(parts, (), preempt=False) as environment:
            outcome = environment.run(program, start=self.now, seed_random=False)
        self.now = environment.now
        for name, error in outcome.thread_errors:
            print(f"{name} died of {error_text(error)}", file=sys.stderr)
        failure = outcome.failure
        if failure is None:
            return outcome.value
        if failure.error is not None:
            raise failure.error
        raise (Deadlock if failure.kind == "deadlock" else Stuck)(failure.message)


@dataclass(frozen=True, repr=False)
class Report:
    """What `explore` found: `str(report)` tells it in words.

    `schedule` is the shortest that was found to fail; `switches` is the story of the run under it. `replays` is false
    only where the program varies by itself, so that no schedule can repeat what happened.
    """

    ok: bool
    failure: Failure | None
    schedule: Schedule
    schedules_run: int
    seed: int
    replays: bool
    switches: tuple[Switch, ...]
    _rerun: Callable[[Schedule], Outcome]

    def replay(self) -> Outcome:
        """Run the program once more under `schedule`."""
        return self._rerun(self.schedule)

    def __str__(self) -> str:
        if self.failure is None:
            return f"No failure in {self.schedules_run} schedules (seed {self.seed})."
        lines = [
            self.failure.message,
            f"Found in schedule {self.schedules_run} of seed {self.seed}; {_count_of(self.schedule)}.",
        ]
        if self.switches:
            lines.append("What happened (→ marks a switch that the schedule asks for):")
            lines.extend(f"  {line}" for line in interleaving(self.switches))
        if self.replays:
            lines.append(f"Replay it with report.replay(); its schedule is {self.schedule}.")
        else:
            lines.append("It did not repeat under its own schedule: the program varies by itself.")
        return "\n".join(lines)

    __repr__ = __str__


def explore(
    program: Callable[[], Any],
    schedules: int = 200,
    *,
    seed: int = 0,
    answer: Iterable[Any] = (),
    check: Callable[[Any], object] | None = None,
    leaks: bool = False,
    thread_errors: bool = True,
    max_steps: int = MAX_STEPS,
) -> Report:
    """Run `program()`, which starts afresh each time, under up to `schedules` different schedules.

    Stops at the first failure: an AssertionError, any other exception, one in another thread (`thread_errors`), a
    deadlock, a livelock, and with `leaks` a thread that outlives the program by a virtual second. `check(value)` is
    called with what the program returned. The schedule is shrunk and replayed before it is reported.
    """

    @functools.wraps(program)
    def checked() -> Any:
        value = program()
        if check is not None:
            check(value)
        return value

    options = {"max_steps": max_steps, "leaks": leaks, "thread_errors": thread_errors}
    answer = tuple(answer)
    return _explore(checked, schedules, seed, lambda: _environment((program, check), answer, preempt=True), options)


def explore_async(
    program: Callable[[], Coroutine[Any, Any, Any]],
    schedules: int = 200,
    *,
    seed: int = 0,
    answer: Iterable[Any] = (),
    check: Callable[[Any], object] | None = None,
    leaks: bool = False,
    thread_errors: bool = True,
    max_steps: int = MAX_STEPS,
) -> Report:
    """Like `explore`, for a coroutine function: the order in which ready tasks go on is what varies.

    The loop runs in a thread of its own, so this works inside a running loop. With `thread_errors`, an exception of a
    task that nobody awaits is a failure; with `leaks`, a task that outlives `program()` by a virtual second.
    """

    @functools.wraps(program)
    async def checked() -> Any:
        value = await program()
        if check is not None:
            check(value)
        if leaks:
            await _no_task_is_left()
        return value

    options = {"max_steps": max_steps, "leaks": leaks, "thread_errors": thread_errors}
    answer = tuple(answer)

    def main() -> Any:
        return asyncio.run(checked())

    def environment() -> contextlib.AbstractContextManager[_Environment]:
        return _environment((program, check), answer, preempt=False, order_tasks=True)

    return _explore(main, schedules, seed, environment, options)


class _TasksLeft(Exception):
    """Tasks outlived the program."""


async def _no_task_is_left() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, pending = await asyncio.wait(others, timeout=LEAK_GRACE_SECONDS)
        if pending:
            names = sorted(f"{task.get_name()} ({task.get_coro().__name__})" for task in pending)
            raise _TasksLeft(f"still running after the program: {', '.join(names)}")


def _explore(
    program: Callable[[], Any],
    schedules: int,
    seed: int,
    environment: Callable[[], contextlib.AbstractContextManager[_Environment]],
    options: dict[str, Any],
) -> Report:
    def rerun(schedule: Schedule) -> Outcome:
        with environment() as fresh:
            return fresh.run(program, schedule=schedule, record=True, **options)

    with environment() as here:
        if schedules > 0:
            modules = len(sys.modules)
            outcome = here.run(program, **options)
            if outcome.failure is None and len(sys.modules) != modules:
                here.run(program, **options)  # what is imported once is no part of the runs to compare
        tried = 0
        for tried, strategy in enumerate(strategies(seed, schedules), 1):
            outcome = here.run(program, strategy=strategy, **options)
            if outcome.failure is not None:
                return _found(here, program, outcome, tried, seed, rerun, options)
    return Report(True, None, {}, tried, seed, True, (), rerun)


def _found(
    here: _Environment,
    program: Callable[[], Any],
    outcome: Outcome,
    tried: int,
    seed: int,
    rerun: Callable[[Schedule], Outcome],
    options: dict[str, Any],
) -> Report:
    """Shrink the schedule of a failed run, and record the run under what is left."""
    failure = outcome.failure
    attempts = _SHRINK_ATTEMPTS.get(failure.kind, _SHRINK_ATTEMPTS_OTHERWISE)

    def fails(schedule: Schedule) -> bool:
        nonlocal attempts
        attempts -= 1
        return attempts >= 0 and _same(here.run(program, schedule=schedule, **options).failure, failure)

    schedule = shrink_schedule(outcome.schedule, fails)
    if len(schedule) > 1 and attempts > 0:
        schedule = _simpler(here, program, schedule, failure, options)
    if failure.kind == "hang":  # a replay would take as long, and the blocked thread may still be there
        return Report(False, failure, schedule, tried, seed, False, (), rerun)
    recorded = here.run(program, schedule=schedule, record=True, **options)
    replays = _same(recorded.failure, failure)
    return Report(
        False, recorded.failure if replays else failure, schedule, tried, seed, replays, recorded.switches, rerun
    )


def _simpler(
    here: _Environment, program: Callable[[], Any], schedule: Schedule, failure: Failure, options: dict[str, Any]
) -> Schedule:
    """A schedule with fewer deviations that fails the same way, if one is found among those with the fewest."""
    for strategy in few_preemptions(_SIMPLER_CHOICES):
        outcome = here.run(program, strategy=strategy, **options)
        if len(outcome.schedule) < len(schedule) and _same(outcome.failure, failure):
            return outcome.schedule
    return schedule


_SIMPLER_CHOICES = 50
_SHRINK_ATTEMPTS = {"livelock": 8, "hang": 0}
_SHRINK_ATTEMPTS_OTHERWISE = 200


def _same(one: Failure | None, other: Failure | None) -> bool:
    return one is not None and other is not None and one.kind == other.kind and type(one.error) is type(other.error)


def _count_of(schedule: Schedule) -> str:
    match len(schedule):
        case 0:
            return "the default order is enough"
        case 1:
            return "one switch is enough"
        case number:
            return f"{number} switches are enough"


def shrink_schedule(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """A schedule with fewer deviations that still `fails`: halves are dropped first, then single deviations."""
    steps = sorted(schedule)
    chunk = max(1, len(steps) // 2)
    while steps:
        kept = list(steps)
        for begin in range(len(steps) - chunk, -chunk, -chunk):
            dropped = set(steps[max(begin, 0) : begin + chunk])
            attempt = [step for step in kept if step not in dropped]
            if len(attempt) < len(kept) and fails({step: schedule[step] for step in attempt}):
                kept = attempt
        if chunk == 1 and len(kept) == len(steps):
            break
        chunk = max(1, chunk // 2)
        steps = kept
    return {step: schedule[step] for step in steps}


class _Environment:
    """Everything that is installed around one run or a series of runs."""

    def __init__(self, preemption: Preemption | None, order_tasks: bool) -> None:
        self._preemption = preemption
        self._order_tasks = order_tasks
        self._random_state: Any = None
        self.now = 0.0

    def close(self) -> None:
        """Give the module `random` back as it was before it was seeded."""
        if self._random_state is not None:
            random.setstate(self._random_state)

    def _seed_random(self) -> None:
        """Every run starts with the same random numbers, so that a program which draws from them can be replayed."""
        if self._random_state is None:
            self._random_state = random.getstate()
        random.seed(0)

    def run(
        self,
        program: Callable[[], Any],
        *,
        schedule: Schedule | None = None,
        strategy: Strategy | None = None,
        max_steps: int = MAX_STEPS,
        start: float = 0.0,
        thread_errors: bool = False,
        leaks: bool = False,
        record: bool = False,
        seed_random: bool = True,
    ) -> Outcome:
        scheduler = Scheduler(
            schedule=schedule,
            strategy=strategy,
            explore=self._preemption is not None,
            order_tasks=self._order_tasks,
            max_steps=max_steps,
            start=start,
            drain=leaks,
            record=record,
            instrument=None if self._preemption is None else self._preemption.instrument,
        )
        if gc.get_count()[0] > _GARBAGE:
            gc.collect(1)
        if seed_random:
            self._seed_random()
        value = scheduler.execute(program)
        for name in scheduler.abandoned:
            warnings.warn(f"{name} would not end with its run and is left behind as a daemon thread", RuntimeWarning, 4)
        forget_executor_threads(thread.thread for thread in scheduler.threads)
        failure = scheduler.failure
        if failure is not None and isinstance(failure.error, _TasksLeft):
            failure = Failure("leak", str(failure.error))
        if failure is None and thread_errors and scheduler.thread_errors:
            name, error = scheduler.thread_errors[0]
            failure = Failure("thread-exception", f"{name} died of {error_text(error)}", error)
        if failure is None and leaks and scheduler.leaked:
            failure = Failure("leak", f"still running after the program: {', '.join(scheduler.leaked)}")
        self.now = scheduler.now_ns / 1e9
        return Outcome(
            value=value,
            failure=failure,
            schedule=scheduler.deviations,
            steps=scheduler.step,
            elapsed=self.now - start,
            leaked=scheduler.leaked,
            thread_errors=tuple(scheduler.thread_errors),
            switches=tuple(scheduler.switches or ()),
        )


@contextlib.contextmanager
def _environment(
    programs: tuple[Any, ...], answers: tuple[Any, ...], preempt: bool, order_tasks: bool = False
) -> Iterator[_Environment]:
    """Control locks, threads and time in what `programs` and `answers` refer to, for the runs of the `with` block."""
    if threading.get_ident() in controlled:
        raise RuntimeError("a controlled run cannot start another one: call it from outside the program under test")
    with _one_at_a_time, _no_garbage_collection(), contextlib.ExitStack() as stack:
        stack.enter_context(Patches((*programs, *answers)))
        preemption = stack.enter_context(Preemption(programs, answers)) if preempt else None
        yield stack.enter_context(contextlib.closing(_Environment(preemption, order_tasks)))


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A collection at a time of its own choosing would run finalizers in the middle of a schedule."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
