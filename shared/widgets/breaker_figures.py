"""The still figures of exercise 17.2.1: the incident, the story of one outage, and a learner's breaker beside the
reference.

Each is drawn from a run in simulated time, so the same bytes come out of every run.
"""

from __future__ import annotations

import functools
import math
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from shared.palette import COLOURS, ON_COLOUR, PAPER
from shared.resilience.circuit_breaker import AsyncCircuitBreaker, CircuitBreaker
from shared.resilience.contracts import BreakerConfig, CircuitOpen, State
from shared.simulation import VirtualTime
from shared.simulation.traffic import Agenda, Answer, Arrivals, Backend, BackendError
from shared.widgets.breaker_simulation import (
    FAILING,
    HEALTHY,
    OUTCOMES,
    P99_SECONDS,
    PLAY_CONFIG,
    SLOW,
    BreakerSimulation,
    label,
)
from shared.widgets.live_chart import Line
from shared.widgets.style import Picture, course_style, picture_of
from shared.widgets.unwritten import needs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["breaker_storyboard", "compare_with_reference", "incident_figure"]

SECONDS = 120
_BROKEN, _HEALED = 20, 60  # the storyboard's outage
_FAINT, _INK = PAPER["light"]["faint"], PAPER["light"]["ink"]
_SMALL: dict[str, Any] = {"fontsize": 8.5, "color": _FAINT}
Period = tuple[float, float, State]


@functools.cache
def breaker_storyboard(seed: int = 1) -> Picture:
    """The playground's story as a figure: 120 s of success, failure and recovery."""
    simulation = BreakerSimulation(seed=seed)
    columns: list[list[float]] = []
    latency: list[list[float | None]] = []
    rates: list[tuple[float | None, float | None]] = []
    for second in range(SECONDS):
        for dial, value in {_BROKEN: FAILING, _HEALED: HEALTHY}.get(second, {}).items():
            simulation.set(dial, value)
        simulation.step(1.0)
        panes = simulation.frame()["panes"]
        columns += [row[1:] for row in panes["calls"]]
        latency += [row[1:] for row in panes["latency"]]
        seen = simulation.breaker.snapshot()
        rates.append((seen.error_rate, seen.slow_call_rate) if seen.state is State.CLOSED else (None, None))
    return _draw_story(simulation, columns, [p99 for (p99,) in latency], rates)


def _draw_story(
    simulation: BreakerSimulation,
    columns: Sequence[Sequence[float]],
    p99: Sequence[float | None],
    rates: Sequence[tuple[float | None, float | None]],
) -> Picture:
    import matplotlib.pyplot as plt

    config, instants = simulation.config, range(1, SECONDS + 1)
    edges = [0.0, *(change.at for change in simulation.transitions), simulation.now]
    states = [State.CLOSED, *(change.after for change in simulation.transitions)]
    with course_style():
        figure, (strip, calls, window, latency) = plt.subplots(
            4, 1, sharex=True, figsize=(8.6, 6.2), height_ratios=[0.32, 1.5, 1.1, 0.9]
        )
        for axes in (calls, window, latency):
            axes.axvspan(_BROKEN, _HEALED, color=COLOURS["note"], alpha=0.14, linewidth=0)
        _draw_states(strip, zip(edges, edges[1:], states, strict=False), "The breaker")
        _draw_columns(calls, columns, OUTCOMES.values())
        calls.set(ylabel="calls/s", title="What became of the calls")
        calls.text(_BROKEN + 0.6, calls.get_ylim()[1] * 0.9, "backend broken", **_SMALL)
        calls.legend(loc="upper right", ncols=4, fontsize=8.5, borderaxespad=0.1, columnspacing=1.2, handlelength=1.0)
        for index, (name, limit) in enumerate((("failed", config.error_rate), ("slow", config.slow_call_rate))):
            window.step(instants, [_number(rate[index], 100) for rate in rates], where="post", color=COLOURS[name])
            _draw_limit(window, 100 * limit, f"opens at {limit:.0%} {name}", COLOURS[name])
        window.set(ylabel="% of window", ylim=(0, 108), title=f"The window: the last {config.window_size} calls")
        latency.plot(instants, [_number(value) for value in p99], color=_INK)
        _draw_limit(latency, config.slow_call_threshold, f"slow: over {config.slow_call_threshold:g} s", _FAINT)
        latency.set(ylabel="seconds", ylim=(0, 2.6), title=f"p99 of answered calls, last {P99_SECONDS:.0f} s")
        latency.set(xlabel="time (s)", xlim=(0, SECONDS))
        changes = ", ".join(f"{change.at:.0f} s {label(change.after)}" for change in simulation.transitions)
        return picture_of(
            figure,
            f"A circuit breaker for {SECONDS} s. The backend breaks at {_BROKEN} s and heals at {_HEALED} s. "
            f"The breaker starts CLOSED, then: {changes}. While it is open, calls are rejected at once.",
        )


_WORKERS, _PAGES_PER_SECOND = 40, 60.0
_SLOW_FROM, _SLOW_UNTIL = 20.0, 80.0
_PAGES = (
    Line("whole page", "accepted"),
    Line("page without recommendations", "rejected"),
    Line("no worker free: page lost", "failed"),
)


@functools.cache
def incident_figure() -> Picture:
    """The incident: a backend that turns slow takes all workers of a shop, unless a breaker stands between them."""
    import matplotlib.pyplot as plt

    with course_style():
        figure, ((pages, pages_with), (busy, busy_with)) = plt.subplots(
            2, 2, sharex=True, sharey="row", figsize=(8.6, 3.9), height_ratios=[1.5, 1.0]
        )
        for top, bottom, protected in ((pages, busy, False), (pages_with, busy_with, True)):
            columns, workers = _shop(protected)
            _draw_columns(top, columns, _PAGES)
            bottom.stairs(workers, range(SECONDS + 1), fill=True, color=COLOURS["waiting"])
            bottom.axhline(_WORKERS, color=_FAINT, linewidth=1.2, linestyle=(0, (4, 3)))
            for axes in (top, bottom):
                axes.axvspan(_SLOW_FROM, _SLOW_UNTIL, color=COLOURS["note"], alpha=0.14, linewidth=0)
            top.set_title("With a circuit breaker" if protected else "Without")
            bottom.set(xlabel="time (s)", xlim=(0, SECONDS), ylim=(0, _WORKERS * 1.25))
        pages.set_ylabel("pages/s")
        busy.set_ylabel("busy workers")
        pages.text(_SLOW_FROM + 1, pages.get_ylim()[1] * 0.9, "backend answers after 10 s", **_SMALL)
        figure.legend(
            *pages_with.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8.5, handlelength=1.0
        )
        return picture_of(
            figure,
            f"A shop with {_WORKERS} workers for {SECONDS} s; its backend takes 10 s from {_SLOW_FROM:.0f} s to "
            f"{_SLOW_UNTIL:.0f} s. Without a breaker all workers wait and nearly all pages are lost. With one, pages "
            "are lost only until the first slow answers are back; then calls are rejected at once, workers stay free "
            "and pages come without recommendations, until a probe finds the backend well.",
        )


def _shop(protected: bool) -> tuple[list[list[int]], list[int]]:
    """Pages per second by what became of them, as in _PAGES, and the busy workers at the end of each second."""
    agenda, arrivals, busy = Agenda(), Arrivals(seed=3), 0
    breaker = AsyncCircuitBreaker(BreakerConfig(window_size=20), agenda.clock)
    counts: Counter[str] = Counter()

    async def recommendations() -> None:
        await agenda.sleep(10.0 if _SLOW_FROM <= agenda.now < _SLOW_UNTIL else 0.02)

    async def page() -> None:
        nonlocal busy
        if busy == _WORKERS:
            counts[_PAGES[2].label] += 1
            return
        busy += 1
        try:
            await (breaker.call(recommendations) if protected else recommendations())
            counts[_PAGES[0].label] += 1
        except CircuitOpen:
            counts[_PAGES[1].label] += 1
        finally:
            busy -= 1

    columns, workers = [], []
    for second in range(SECONDS):
        for instant in arrivals.between(second, second + 1, _PAGES_PER_SECOND):
            agenda.start(page(), at=instant)
        agenda.run_until(second + 1.0)
        columns.append([counts[each.label] for each in _PAGES])
        workers.append(busy)
        counts.clear()
    agenda.close()
    return columns, workers


@dataclass(frozen=True)
class _Fate:
    """One call of the comparison: when it comes, and how the backend would answer it."""

    at: float
    answer: Answer


@dataclass(frozen=True)
class _Course:
    """What one breaker made of the calls: the outcome and the end of each, and the states that it showed."""

    outcomes: list[str]  # a name in OUTCOMES, or in words an exception that is neither CircuitOpen nor the backend's
    ends: list[float]
    states: list[tuple[float, State]]


_COMPARED = replace(PLAY_CONFIG, window_size=30, wait_duration=10.0)
_BOUTS = {0: HEALTHY, 15: FAILING, 40: HEALTHY, 65: SLOW, 95: HEALTHY}


def compare_with_reference(breaker: Callable[..., Any]) -> Picture:
    """Your breaker and the reference on the same calls, and where they first differ.

    `breaker` is a class with `CircuitBreaker`'s interface. The backend fails for a while, then is slow for a while.
    Raises NotImplementedError where the answer does, and Deadlock with who waits for whom where the calls cannot end.
    """
    fates = _fates()
    with needs("CircuitBreaker"):
        yours = VirtualTime().run(_drive, breaker, fates)
    reference = VirtualTime().run(_drive, CircuitBreaker, fates)
    return _draw_comparison(fates, reference, yours)


def _fates() -> list[_Fate]:
    backend, arrivals, fates = Backend(seed=2), Arrivals(seed=2), []
    for second in range(SECONDS):
        if second in _BOUTS:
            backend.latency, backend.error_rate = _BOUTS[second]["latency"], _BOUTS[second]["errors"]
        fates += [_Fate(instant, backend.answer()) for instant in arrivals.between(second, second + 1, 5.0)]
    return fates


def _drive(make: Callable[..., Any], fates: Sequence[_Fate]) -> _Course:
    """Make every call in a thread of its own. Runs under VirtualTime, so `threading` and `time` are virtual here."""
    breaker = make(_COMPARED, time.monotonic)
    course = _Course(["" for _ in fates], [0.0 for _ in fates], [(0.0, State.CLOSED)])
    unanswered: list[NotImplementedError] = []

    def look() -> None:
        with suppress(AttributeError):
            if isinstance(breaker.state, State) and breaker.state is not course.states[-1][1]:
                course.states.append((time.monotonic(), breaker.state))

    def call(index: int, answer: Answer) -> None:
        def backend() -> None:
            time.sleep(answer.took)
            if answer.failed:
                raise BackendError

        started = time.monotonic()
        try:
            breaker.call(backend)
            outcome = "slow" if time.monotonic() - started > _COMPARED.slow_call_threshold else "served"
        except CircuitOpen:
            outcome = "rejected"
        except BackendError:
            outcome = "failed"
        except NotImplementedError as error:
            outcome = "failed"
            unanswered.append(error)
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}".removesuffix(": ")
        course.outcomes[index], course.ends[index] = outcome, time.monotonic()
        look()

    callers = []
    for index, fate in enumerate(fates):
        time.sleep(max(0.0, fate.at - time.monotonic()))
        look()
        callers.append(threading.Thread(target=call, args=(index, fate.answer), daemon=True))
        callers[-1].start()
    for caller in callers:
        caller.join()
    if unanswered:
        raise unanswered[0]
    return course


def _draw_comparison(fates: Sequence[_Fate], reference: _Course, yours: _Course) -> Picture:
    import matplotlib.pyplot as plt

    differs = _first_difference(fates, reference, yours)
    words = f"The same on all {len(fates)} calls." if differs is None else differs[1]
    with course_style():
        figure, rows = plt.subplots(4, 1, sharex=True, figsize=(8.6, 4.6), height_ratios=[0.3, 1.2, 0.3, 1.2])
        for strip, calls, course, name in (
            (rows[0], rows[1], reference, "The reference"),
            (rows[2], rows[3], yours, "Yours"),
        ):
            edges = [*(since for since, _ in course.states), float(SECONDS)]
            _draw_states(strip, zip(edges, edges[1:], (state for _, state in course.states), strict=False), name)
            _draw_columns(calls, _per_second(fates, course), [*OUTCOMES.values(), Line("another exception", "note")])
            calls.set(ylabel="calls/s", xlim=(0, SECONDS))
        if differs is not None:
            for axes in rows:
                axes.axvline(differs[0], color=_INK, linewidth=1.2)
        entries = {
            name: handle for axes in rows for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(entries.values(), entries, loc="outside lower center", ncols=5, fontsize=8.5, handlelength=1.0)
        figure.suptitle(textwrap.fill(words, 105), x=0.01, ha="left", fontsize=10.5, color=_INK)
        rows[3].set_xlabel("time (s)")
        return picture_of(figure, words)


def _first_difference(fates: Sequence[_Fate], reference: _Course, yours: _Course) -> tuple[float, str] | None:
    """The instant of the first call that the two treated differently, and the difference in words."""
    for number, fate in enumerate(fates):
        expected, observed = reference.outcomes[number], yours.outcomes[number]
        late = yours.ends[number] - reference.ends[number]
        if expected != observed:
            difference = f"the reference {_did(expected)}, yours {_did(observed)}"
        elif abs(late) > 0.001:
            difference = f"your call ended {abs(late):.1f} s {'later' if late > 0 else 'earlier'}"
        else:
            continue
        return fate.at, f"First difference at {fate.at:.1f} s: {difference}."
    return None


def _did(outcome: str) -> str:
    if outcome == "rejected":
        return "rejected the call"
    if outcome in OUTCOMES:
        return f"made the call ({outcome})"
    return f"raised {outcome}"


def _per_second(fates: Sequence[_Fate], course: _Course) -> list[list[int]]:
    names = list(OUTCOMES)
    columns = [[0] * (len(names) + 1) for _ in range(SECONDS)]
    for fate, outcome in zip(fates, course.outcomes, strict=True):
        columns[min(SECONDS - 1, int(fate.at))][names.index(outcome) if outcome in OUTCOMES else len(names)] += 1
    return columns


def _draw_states(axes: Axes, periods: Iterable[Period], title: str) -> None:
    """A strip with one block per period; the name stands in the block, or above it where the block is short."""
    bold: dict[str, Any] = {"fontsize": 8.5, "fontweight": "bold", "ha": "center"}
    free_from = 0.0  # names above the strip must not overlap
    for start, end, state in periods:
        axes.barh(0, end - start, left=start, height=0.8, color=COLOURS[state.value])
        middle = (start + end) / 2
        if end - start > 8:
            axes.text(middle, -0.03, label(state), va="center", color=ON_COLOUR[state.value], **bold)
        elif middle > free_from:
            axes.text(middle, 0.55, label(state), va="bottom", **bold)
            free_from = middle + 14
    axes.set(yticks=[], ylim=(-0.5, 0.5), title=title)
    axes.spines[:].set_visible(False)
    axes.grid(False)
    axes.tick_params(length=0)


def _draw_columns(axes: Axes, columns: Sequence[Sequence[float]], kinds: Iterable[Line]) -> None:
    """Stacked columns, one per second, with room above them for a legend."""
    from matplotlib.ticker import MaxNLocator

    base: list[float] = [0] * len(columns)
    for index, kind in enumerate(kinds):
        top = [below + column[index] for below, column in zip(base, columns, strict=True)]
        if top != base:
            axes.stairs(
                top, range(len(top) + 1), baseline=base, fill=True, color=COLOURS[kind.colour], label=kind.label
            )
        base = top
    axes.set_ylim(0, max(base) * 1.25)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))


def _draw_limit(axes: Axes, value: float, words: str, colour: str) -> None:
    axes.axhline(value, color=colour, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.annotate(words, (SECONDS - 0.5, value), (0, 2), textcoords="offset points", ha="right", va="bottom", **_SMALL)


def _number(value: float | None, scale: float = 1) -> float:
    return math.nan if value is None else scale * value
