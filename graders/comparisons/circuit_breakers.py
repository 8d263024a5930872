"""Which rules of exercise 17.2.1 five published circuit breakers keep: the exercise's own checks are run on each.

Invariant: no library is judged on what it does not claim. Each gets its best configuration for a scenario; a scenario
that it has no setting for is left out, and a property of which nothing is left reads "no such feature".

Adapters give a library the interface of the exercise and nothing more: they translate the configuration, the states and
the rejection (with what is left of the wait, worked out where the library does not tell it). A library's code is
preempted like a learner's in the properties that explore interleavings. Only the scenarios that every run of a check
judges are used, and those of `_ASKED_TOO`; none is drawn. The libraries are the optional extra `bench`.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from importlib import metadata
from typing import Any, ClassVar, cast

from hypothesis import strategies as st

from graders.kit import Check, World, checks_in, examine, play_each
from shared.palette import COLOURS
from shared.resilience.contracts import BreakerConfig, CircuitOpen, State

__all__ = ["ADAPTERS", "Adapter", "Row", "Verdict", "as_html", "as_text", "table"]

HOLDS, FAILS, ABSENT = "holds", "fails", "no such feature"

_SEED = 17

_ASKED_TOO: dict[str, list[dict[str, Any]]] = {
    # Learners' answers that take an ignored error for a success are caught by other scenarios, which libraries without
    # a limit on probes never reach.
    "ignored-errors-give-permits-back": [
        {
            "config": {"min_calls_to_open": 4, "wait_duration": 10.0, "permitted_calls_in_half_open": 1},
            "steps": [
                {"do": "open", "limit": 10, "lasts": 0.0},
                {"do": "pass", "seconds": 15.0},
                *({"do": "call", "ends": ends, "lasts": 0.0} for ends in ("ignored", "fail", "ok")),
            ],
        }
    ],
}


@dataclass(frozen=True)
class Verdict:
    """One property of one library. `words`: what was expected and observed where it fails, or why it has no feature."""

    check: str
    title: str
    status: str
    words: str = ""


@dataclass(frozen=True)
class Row:
    """One library, with a verdict for each check of the exercise, in their order."""

    library: str
    version: str
    verdicts: tuple[Verdict, ...]


def table(libraries: Sequence[str] | None = None) -> list[Row]:
    """Judge the course's own breaker and every library, or those named; the same versions give the same rows.

    Takes some seconds. Raises ModuleNotFoundError, with the way to install it, where a library is missing.
    """
    checks = checks_in(importlib.import_module("graders.ex17_2_1_circuit_breaker")).values()
    return [
        Row(name, _version(adapter), tuple(_verdict(check, adapter) for check in checks))
        for name, adapter in ADAPTERS.items()
        if libraries is None or name in libraries
    ]


def as_text(rows: Sequence[Row]) -> str:
    """One line per property, one column per library: ✓ holds, ✗ fails, – no such feature. Then the reasons."""
    labels = [verdict.check for verdict in rows[0].verdicts]
    width = max(map(len, labels))
    names = [f"{row.library} {row.version}".strip() for row in rows]
    lines = [" ".join([" " * width, *names])]
    for at, label in enumerate(labels):
        marks = [_MARKS[row.verdicts[at].status].center(len(name)) for row, name in zip(rows, names, strict=True)]
        lines.append(" ".join([label.ljust(width), *marks]).rstrip())
    lines.append("✓ holds   ✗ fails   – no such feature")
    for row in rows:
        reasons: dict[tuple[str, str], list[str]] = {}
        for verdict in row.verdicts:
            if verdict.words:
                reasons.setdefault((_MARKS[verdict.status], verdict.words), []).append(verdict.check)
        if reasons:
            lines += ["", row.library]
            failures_first = sorted(reasons.items(), key=lambda reason: reason[0][0] == _MARKS[ABSENT])
            lines += [f"  {mark} {', '.join(checks)}: {words}" for (mark, words), checks in failures_first]
    return "\n".join(lines)


def as_html(rows: Sequence[Row]) -> str:
    """The same as a table for a notebook; a ✗ tells its reason when it is pointed at, and to a screen reader."""
    head = "".join(
        f"<th scope='col'>{escape(row.library)}<br><small>{escape(row.version)}</small></th>" for row in rows
    )
    body = "".join(
        f"<tr><th scope='row' style='text-align:left;font-weight:normal'>{escape(verdict.title)}</th>"
        + "".join(_cell(row.verdicts[at]) for row in rows)
        + "</tr>"
        for at, verdict in enumerate(rows[0].verdicts)
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"


_MARKS = {HOLDS: "✓", FAILS: "✗", ABSENT: "–"}
_COLOURS = {HOLDS: COLOURS["accepted"], FAILS: COLOURS["failed"], ABSENT: "inherit"}


def _cell(verdict: Verdict) -> str:
    words = f"{verdict.status}: {verdict.words}" if verdict.words else verdict.status
    style = f"text-align:center;color:{_COLOURS[verdict.status]}"
    return f'<td style=\'{style}\' title="{escape(words)}" aria-label="{escape(words)}">{_MARKS[verdict.status]}</td>'


# Judging


def _version(adapter: type[Adapter]) -> str:
    try:
        return adapter.distribution and metadata.version(adapter.distribution)
    except metadata.PackageNotFoundError:
        words = f"{adapter.distribution} is not installed. The compared libraries come with: pip install -e '.[bench]'"
        raise ModuleNotFoundError(words) from None


def _verdict(check: Check, adapter: type[Adapter]) -> Verdict:
    if check.id in adapter.lacks:
        return Verdict(check.id, check.title, ABSENT, adapter.lacks[check.id])
    asked = [*check.always, *_ASKED_TOO.get(check.id, ())]
    scenarios = [scenario for scenario in asked if adapter.has_settings_for(scenario)]
    if not scenarios:
        return Verdict(check.id, check.title, ABSENT, "it has no settings for it")
    fitted = _fitted(check, scenarios)
    answer = (adapter, *adapter.code())
    with _dates_follow_the_clock(adapter):
        result = examine(fitted, partial(play_each, fitted, answer), seed=_SEED, scale=0)
    if result.passed:
        return Verdict(check.id, check.title, HOLDS)
    if result.status != "failed" or result.card is None:
        raise RuntimeError(f"{check.id} could not judge {adapter.distribution}: {result.status}. {result.message}")
    words = f"expected {result.card.expected}; observed {result.card.observed}"
    return Verdict(check.id, check.title, FAILS, words)


def _fitted(check: Check, scenarios: list[Any]) -> Check:
    """The check on these scenarios alone, for an answer that is an adapter with the library's code beside it."""
    kind = type(check)

    def drive(self: Check, answer: Any, scenario: Any, world: World) -> None:
        kind.drive(self, answer[0], scenario, world)

    fields = {"__doc__": kind.__doc__, "drive": drive, "always": scenarios, "scenarios": st.sampled_from(scenarios)}
    return type(kind.__name__, (kind,), fields)()


@contextlib.contextmanager
def _dates_follow_the_clock(adapter: type[Adapter]) -> Iterator[None]:
    """Virtual time does not reach `datetime.now()`: where a library times the wait by it, take it from `time.time`."""
    modules = [importlib.import_module(name) for name in adapter.dated_modules]
    for module in modules:
        module.datetime = _Dates  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in modules:
            module.datetime = datetime.datetime  # type: ignore[attr-defined]


class _Dates(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
        return datetime.datetime.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> datetime.datetime:  # type: ignore[override]
        return datetime.datetime.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)


# Adapters


class Adapter:
    """A library behind the interface of the exercise: `Adapter(config, clock)`, `call(fn, …)`, `state`."""

    distribution: ClassVar[str] = ""
    modules: ClassVar[tuple[str, ...]] = ()
    """Where its code is: an explorer may switch threads inside these."""
    dated_modules: ClassVar[tuple[str, ...]] = ()
    """Those of them that time the wait by dates."""
    lacks: ClassVar[dict[str, str]] = {}
    """The checks of features that it does not claim, and what it has instead."""
    probes_to_close: ClassVar[int | None] = None
    """How many successful probes close it, where that cannot be set."""
    states: ClassVar[dict[Any, State]] = {}

    def __init__(self, config: BreakerConfig, clock: Callable[[], float]) -> None:
        self.config = config
        self._breaker: Any
        self._call: Any
        self._storage: Any

    @classmethod
    def code(cls) -> list[dict[str, Any]]:
        return [vars(importlib.import_module(name)) for name in cls.modules]

    @classmethod
    def has_settings_for(cls, scenario: dict[str, Any]) -> bool:
        """Whether it has a setting for all that a scenario asks for."""
        config = scenario.get("config", {})
        probes = config.get("permitted_calls_in_half_open", cls.probes_to_close)
        if cls.probes_to_close is not None and probes != cls.probes_to_close:
            return False
        slow = config.get("slow_call_threshold", math.inf)
        has_slow_calls = any(step.get("lasts", 0.0) > slow for step in scenario.get("steps", ()))
        return not has_slow_calls or "opens-on-slow-calls" not in cls.lacks

    @property
    def failures_in_a_row(self) -> int:
        """As many as the configured breaker needs when every call fails."""
        return min(self.config.min_calls_to_open, self.config.window_size)

    def is_failure(self, error: BaseException) -> bool:
        return isinstance(error, Exception) and not isinstance(error, self.config.ignored)

    def is_exit(self, error: BaseException) -> bool:
        return not isinstance(error, Exception)


_COUNTS_IN_A_ROW = dict.fromkeys(
    ("opens-on-error-rate", "opens-on-slow-calls", "window-forgets"), "it counts failures in a row, without a window"
)
_CLAIMS_NO_THREAD_SAFETY = {"window-counts-every-call": "it does not claim to be thread-safe"}


def _invoke(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """What is decorated, for libraries that come as a decorator."""
    return fn(*args, **kwargs)


class _Course(Adapter):
    modules = ("shared.resilience.circuit_breaker",)

    def __init__(self, config: BreakerConfig, clock: Callable[[], float]) -> None:
        from shared.resilience.circuit_breaker import CircuitBreaker

        self._breaker = CircuitBreaker(config, clock)
        self.call = self._breaker.call

    @property
    def state(self) -> State:
        return self._breaker.state


class _PyBreaker(Adapter):
    distribution = "pybreaker"
    modules = dated_modules = ("pybreaker",)
    lacks = _COUNTS_IN_A_ROW
    states: ClassVar = {"closed": State.CLOSED, "open": State.OPEN, "half-open": State.HALF_OPEN}

    def __init__(self, config: BreakerConfig, clock: Callable[[], float]) -> None:
        import pybreaker

        super().__init__(config, clock)
        self._rejection = pybreaker.CircuitBreakerError
        self._storage = pybreaker.CircuitMemoryStorage(pybreaker.STATE_CLOSED)
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=self.failures_in_a_row,
            reset_timeout=config.wait_duration,
            success_threshold=config.permitted_calls_in_half_open,
            exclude=cast("Any", [*config.ignored, self.is_exit]),
            state_storage=self._storage,
            throw_new_error_on_trip=False,
        )

    def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._breaker.call(fn, *args, **kwargs)
        except self._rejection:
            waited = _Dates.now(datetime.UTC) - self._storage.opened_at
            raise CircuitOpen(self.config.wait_duration - waited.total_seconds()) from None

    @property
    def state(self) -> State:
        return self.states[self._breaker.current_state]


class _AioBreaker(Adapter):
    distribution = "aiobreaker"
    modules = ("aiobreaker.circuitbreaker", "aiobreaker.state", "aiobreaker.storage.memory")
    dated_modules = modules[:2]
    lacks: ClassVar = _COUNTS_IN_A_ROW | _CLAIMS_NO_THREAD_SAFETY
    probes_to_close = 1
    states: ClassVar = {"CLOSED": State.CLOSED, "OPEN": State.OPEN, "HALF_OPEN": State.HALF_OPEN}

    def __init__(self, config: BreakerConfig, clock: Callable[[], float]) -> None:
        import aiobreaker  # type: ignore[import-untyped]
        from aiobreaker.storage.memory import CircuitMemoryStorage  # type: ignore[import-untyped]

        super().__init__(config, clock)
        self._rejection = aiobreaker.CircuitBreakerError
        self._storage = CircuitMemoryStorage(aiobreaker.CircuitBreakerState.CLOSED)
        self._breaker = aiobreaker.CircuitBreaker(
            fail_max=self.failures_in_a_row,
            timeout_duration=datetime.timedelta(seconds=config.wait_duration),
            exclude=config.ignored,
            state_storage=self._storage,
        )

    def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._breaker.call(fn, *args, **kwargs)
        except self._rejection as error:
            if error.__cause__ is not None:
                raise  # the call was made, and failed: this stands in for its own exception
            waited = _Dates.utcnow() - self._storage.opened_at
            raise CircuitOpen(self.config.wait_duration - waited.total_seconds()) from None

    @property
    def state(self) -> State:
        return self.states[self._breaker.current_state.name]


class _CircuitBreaker(Adapter):
    distribution = "circuitbreaker"
    modules = ("circuitbreaker",)
    lacks: ClassVar = _COUNTS_IN_A_ROW | _CLAIMS_NO_THREAD_SAFETY
    probes_to_close = 1
    states: ClassVar = {"closed": State.CLOSED, "open": State.OPEN, "half_open": State.HALF_OPEN}

    def __init__(self, config: BreakerConfig, clock: Callable[[], float]) -> None:
        import circuitbreaker  # type: ignore[import-untyped]

        super().__init__(config, clock)
        self._rejection = circuitbreaker.CircuitBreakerError
        self._breaker = circuitbreaker.CircuitBreaker(
            failure_threshold=self.failures_in_a_row,
            recovery_timeout=config.wait_duration,
            expected_exception=lambda kind, error: self.is_failure(error),
            name="comparison",
        )
        self._call = self._breaker.decorate(_invoke)

    def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._call(fn, *args, **kwargs)
        except self._rejection:
            # Its own `open_remaining` is rounded up to whole seconds.
            left = self._breaker._opened + self.config.wait_duration - time.monotonic()
            raise CircuitOpen(left) from None

    @property
    def state(self) -> State:
        return self.states[self._breaker.state]


class _Purgatory(Adapter):
    distribution = "purgatory"
    modules = ("purgatory.domain.model", "purgatory.service._sync.circuitbreaker", "purgatory.service._sync.messagebus")
    lacks: ClassVar = _COUNTS_IN_A_ROW | _CLAIMS_NO_THREAD_SAFETY
    probes_to_close = 1
    states: ClassVar = {"closed": State.CLOSED, "opened": State.OPEN, "half-opened": State.HALF_OPEN}

    def __init__(self, config: BreakerConfig, clock: Callable[[], float]) -> None:
        import purgatory
        from purgatory.domain.model import OpenedState

        super().__init__(config, clock)
        self._rejection = OpenedState
        factory = purgatory.SyncCircuitBreakerFactory(
            default_threshold=self.failures_in_a_row,
            default_ttl=config.wait_duration,
            exclude=[*config.ignored, (BaseException, self.is_exit)],
        )
        self._breaker = factory.get_breaker("comparison")

    def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        try:
            with self._breaker:
                return fn(*args, **kwargs)
        except self._rejection as error:
            raise CircuitOpen(error.opened_at + self.config.wait_duration - time.time()) from None

    @property
    def state(self) -> State:
        return self.states[self._breaker.context.state]


class _PyResilience(Adapter):
    distribution = "pyresilience"
    modules = ("pyresilience._circuit_breaker", "pyresilience._executor")
    states: ClassVar = {"closed": State.CLOSED, "open": State.OPEN, "half_open": State.HALF_OPEN}

    def __init__(self, config: BreakerConfig, clock: Callable[[], float]) -> None:
        import pyresilience

        super().__init__(config, clock)
        self._rejection = pyresilience.CircuitOpenError
        decorate = pyresilience.resilient(
            circuit_breaker=pyresilience.CircuitBreakerConfig(
                recovery_timeout=config.wait_duration,
                success_threshold=config.permitted_calls_in_half_open,
                sliding_window_size=config.window_size,
                failure_rate_threshold=config.error_rate,
                minimum_calls=self.failures_in_a_row,
                # It calls a duration at the threshold slow: the next number above makes that strict.
                slow_call_duration=math.nextafter(config.slow_call_threshold, math.inf),
                slow_call_rate_threshold=config.slow_call_rate,
                ignore_on=config.ignored,
            )
        )
        self._call = decorate(_invoke)
        self._breaker = self._call._executor._circuit_breaker

    def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._call(fn, *args, **kwargs)
        except self._rejection:
            left = self._breaker._last_failure_time + self.config.wait_duration - time.monotonic()
            raise CircuitOpen(left) from None

    @property
    def state(self) -> State:
        return self.states[self._breaker.state.value]


ADAPTERS: dict[str, type[Adapter]] = {
    "this course": _Course,
    "pybreaker": _PyBreaker,
    "circuitbreaker": _CircuitBreaker,
    "aiobreaker": _AioBreaker,
    "purgatory": _Purgatory,
    "pyresilience": _PyResilience,
}
