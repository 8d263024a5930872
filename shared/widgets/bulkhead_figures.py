"""The still figures of exercise 17.2.3: the incident, the flood with one pool and with two, and a learner's bulkhead
beside the reference.

Each is drawn from a run in simulated time, so the same bytes come out of every run.
"""

from __future__ import annotations

import functools
import math
import queue
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.palette import COLOURS, PAPER
from shared.resilience.bulkhead import Bulkhead
from shared.resilience.contracts import TenantLimit
from shared.simulation import VirtualTime
from shared.widgets.bulkhead_simulation import (
    CALM,
    FLOOD,
    LIMITS,
    OUTCOMES,
    P99_SECONDS,
    SHARED,
    TENANTS,
    TIMEOUT,
    BulkheadSimulation,
)
from shared.widgets.style import Picture, course_style, picture_of
from shared.widgets.unwritten import needs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bulkhead_storyboard", "compare_with_reference", "incident_figure"]

SECONDS = 90
_FLOOD, _EBB = 20, 60
_TENANT_COLOURS = {"premium": COLOURS["half-open"], "free": COLOURS["slow"]}
_FAINT, _INK = PAPER["light"]["faint"], PAPER["light"]["ink"]
_SMALL: dict[str, Any] = {"fontsize": 8.5, "color": _FAINT}


@functools.cache
def _run(pools: float) -> dict[str, list[list[float]]]:
    """The rows of every pane over `SECONDS`, of which free floods some."""
    simulation = BulkheadSimulation(pools=pools)
    rows: dict[str, list[list[float]]] = {}
    for second in range(SECONDS):
        for dial, value in {_FLOOD: FLOOD, _EBB: CALM}.get(second, {}).items():
            simulation.set(dial, value)
        simulation.step(1.0)
        for pane, new in simulation.frame()["panes"].items():
            rows.setdefault(pane, []).extend([math.nan if cell is None else cell for cell in row[1:]] for row in new)
    return rows


@functools.cache
def incident_figure() -> Picture:
    """The incident: free's slow calls take the places of premium, unless premium has its own."""
    import matplotlib.pyplot as plt

    with course_style():
        figure, ((calls, calls_own), (busy, busy_own)) = plt.subplots(
            2, 2, sharex=True, sharey="row", figsize=(8.6, 4.0), height_ratios=[1.4, 1.0]
        )
        for top, bottom, pools, title in (
            (calls, busy, 1.0, f"One pool of {SHARED.max_concurrent}"),
            (
                calls_own,
                busy_own,
                2.0,
                " + ".join(f"{LIMITS[tenant].max_concurrent} for {tenant}" for tenant in TENANTS),
            ),
        ):
            rows = _run(pools)
            _stack(top, rows["premium"], [(line.label, COLOURS[line.colour]) for line in OUTCOMES.values()])
            _stack(bottom, rows["busy"], [(f"{name} runs", colour) for name, colour in _TENANT_COLOURS.items()])
            for axes in (top, bottom):
                axes.axvspan(_FLOOD, _EBB, color=COLOURS["note"], alpha=0.14, linewidth=0, zorder=0)
            top.set_title(title)
            bottom.axhline(SHARED.max_concurrent, color=_FAINT, linewidth=1.2, linestyle=(0, (4, 3)))
            bottom.set(xlabel="time (s)", xlim=(0, SECONDS), ylim=(0, 1.25 * SHARED.max_concurrent))
        calls.set_ylabel("premium calls/s")
        busy.set_ylabel("places taken")
        calls.text(_FLOOD + 1, calls.get_ylim()[1] * 0.93, "free floods, 3 s a call", **_SMALL)
        handles = [axes.get_legend_handles_labels() for axes in (calls, busy)]
        entries = {name: handle for found in handles for handle, name in zip(*found, strict=True)}
        figure.legend(entries.values(), entries, loc="outside lower center", ncols=5, fontsize=8.5, handlelength=1.0)
        return picture_of(
            figure,
            f"Premium's calls and the places taken over {SECONDS} s; free floods from {_FLOOD} s to {_EBB} s. With one "
            "pool free's calls take nearly all places, and premium's calls are refused or time out. With a pool each, "
            "free fills its own places only, and premium is served throughout.",
        )


@functools.cache
def bulkhead_storyboard() -> Picture:
    """The playground's story: premium's p99 under free's flood with one pool and with two, and what free pays."""
    import matplotlib.pyplot as plt

    with course_style():
        figure, (latency, free) = plt.subplots(2, 1, sharex=True, figsize=(8.6, 4.4))
        for pools, label, colour in ((1.0, "one shared pool", "failed"), (2.0, "two pools", "accepted")):
            p99 = [row[0] for row in _run(pools)["p99"]]
            latency.plot(range(1, SECONDS + 1), p99, color=COLOURS[colour], label=label)
        latency.axhline(TIMEOUT, color=_FAINT, linewidth=1.2, linestyle=(0, (4, 3)))
        latency.text(SECONDS - 0.5, TIMEOUT + 0.04, f"timeout: {TIMEOUT:g} s", ha="right", va="bottom", **_SMALL)
        latency.set(title=f"Premium: p99 until the answer, last {P99_SECONDS:.0f} s", ylabel="seconds", ylim=(0, 2.6))
        latency.legend(loc="center", fontsize=8.5)
        _stack(free, _run(2.0)["free"], [(line.label, COLOURS[line.colour]) for line in OUTCOMES.values()])
        free.set(title="Free, with two pools: calls per second", ylabel="calls/s", xlabel="time (s)", xlim=(0, SECONDS))
        free.legend(loc="upper right", fontsize=8.5, handlelength=1.0)
        for axes in (latency, free):
            axes.axvspan(_FLOOD, _EBB, color=COLOURS["note"], alpha=0.14, linewidth=0, zorder=0)
        worst = [max(row[0] for row in _run(pools)["p99"][_FLOOD:_EBB]) for pools in (1.0, 2.0)]
        return picture_of(
            figure,
            f"Free floods from {_FLOOD} s to {_EBB} s. With one pool premium's p99 rises to {worst[0]:.1f} s, its "
            f"timeout; with two pools it stays at {worst[1]:.1f} s or less, and free's calls are refused or time out.",
        )


def _stack(axes: Axes, rows: Sequence[Sequence[float]], kinds: Sequence[tuple[str, str]]) -> None:
    """Stacked columns, one per second, with room above them for words."""
    base: list[float] = [0.0] * len(rows)
    for index, (label, colour) in enumerate(kinds):
        top = [below + row[index] for below, row in zip(base, rows, strict=True)]
        axes.stairs(top, range(len(top) + 1), baseline=base, fill=True, color=colour, label=label)
        base = top
    axes.set_ylim(0, max(base) * 1.25)


@dataclass(frozen=True)
class _Plan:
    """One call of the comparison."""

    tenant: str
    at: float
    lasts: float
    timeout: float


@dataclass
class _Fate:
    """What a bulkhead made of it: when its function ran, when its caller was told, and what."""

    began: float | None = None
    ended: float | None = None
    until: float = 0.0
    outcome: str = ""


_COMPARED = {"premium": TenantLimit(2, 2), "free": TenantLimit(1, 1)}
_PLANS = [
    _Plan("free", 0.0, 6.0, 4.0),  # times out while it runs
    _Plan("premium", 0.5, 2.0, 9.0),
    _Plan("free", 1.0, 2.0, 2.0),  # times out while it waits
    _Plan("premium", 1.2, 2.0, 9.0),
    _Plan("premium", 1.6, 2.0, 9.0),
    _Plan("free", 2.0, 1.0, 9.0),  # refused
    _Plan("premium", 2.2, 2.0, 9.0),
    _Plan("premium", 2.3, 1.0, 9.0),  # refused
    _Plan("free", 3.5, 2.0, 9.0),  # waits for the call that timed out
    _Plan("premium", 7.0, 2.0, 9.0),
    _Plan("free", 9.0, 1.0, 9.0),
]
_END = 12.0


def compare_with_reference(bulkhead: Callable[..., Any]) -> Picture:
    """Your bulkhead and the reference on the same eleven calls, and where they first differ.

    `bulkhead` is a class with `Bulkhead`'s interface. Raises NotImplementedError where the answer does, and Deadlock
    with who waits for whom where the calls cannot end.
    """
    with needs("Bulkhead"):
        yours = VirtualTime().run(_drive, bulkhead)
    reference = VirtualTime().run(_drive, Bulkhead)
    return _draw_comparison(reference, yours)


def _drive(make: Callable[..., Any]) -> list[_Fate]:
    """Make every call in a thread of its own. Runs under VirtualTime, so `threading` and `time` are virtual here."""
    bulkhead, fates = make(_COMPARED, time.monotonic), [_Fate() for _ in _PLANS]
    unanswered: list[NotImplementedError] = []

    def call(plan: _Plan, fate: _Fate) -> None:
        def fn() -> None:
            fate.began = time.monotonic()
            time.sleep(plan.lasts)
            fate.ended = time.monotonic()

        try:
            bulkhead.submit(plan.tenant, fn, plan.timeout)
            fate.outcome = "served"
        except queue.Full:
            fate.outcome = "refused"
        except TimeoutError:
            fate.outcome = "timed out"
        except NotImplementedError as error:
            unanswered.append(error)
        except Exception as error:
            fate.outcome = f"{type(error).__name__}: {error}".removesuffix(": ")
        fate.until = time.monotonic()

    callers = []
    for plan, fate in zip(_PLANS, fates, strict=True):
        time.sleep(max(0.0, plan.at - time.monotonic()))
        callers.append(threading.Thread(target=call, args=(plan, fate), daemon=True))
        callers[-1].start()
    for caller in callers:
        caller.join()
    if unanswered:
        raise unanswered[0]
    time.sleep(max(0.0, _END - time.monotonic()))
    return fates


def _draw_comparison(reference: Sequence[_Fate], yours: Sequence[_Fate]) -> Picture:
    import matplotlib.pyplot as plt

    differs = _first_difference(reference, yours)
    words = f"The same on all {len(_PLANS)} calls." if differs is None else differs[1]
    with course_style():
        figure, panels = plt.subplots(1, 2, sharex=True, sharey=True, figsize=(8.6, 3.9))
        for axes, fates, title in zip(panels, (reference, yours), ("The reference", "Yours"), strict=True):
            for row, (plan, fate) in enumerate(zip(_PLANS, fates, strict=True)):
                _draw_call(axes, row, plan, fate)
            if differs is not None:
                axes.axhspan(differs[0] - 0.5, differs[0] + 0.5, color=COLOURS["note"], alpha=0.2, linewidth=0)
            axes.set(title=title, xlabel="time (s)", xlim=(0, _END), ylim=(len(_PLANS) - 0.4, -0.6))
            axes.set_yticks(range(len(_PLANS)), [f"{plan.tenant} {row + 1}" for row, plan in enumerate(_PLANS)])
            axes.grid(False)
        for name, colour in (("waits", "waiting"), ("runs", "accepted"), ("runs on after the timeout", "slow")):
            panels[0].barh(-9, 0, color=COLOURS[colour], label=name)
        panels[0].plot([], [], "x", color=COLOURS["rejected"], label="refused", markeredgewidth=2)
        panels[0].plot([], [], "|", color=COLOURS["failed"], label="timed out", markeredgewidth=2, markersize=10)
        figure.legend(loc="outside lower center", ncols=5, fontsize=8.5, handlelength=1.0)
        figure.suptitle(textwrap.fill(words, 105), x=0.01, ha="left", fontsize=10.5, color=_INK)
        return picture_of(figure, words)


def _draw_call(axes: Axes, row: int, plan: _Plan, fate: _Fate) -> None:
    def bar(start: float, end: float, colour: str) -> None:
        if end > start:
            axes.barh(row, end - start, left=start, height=0.62, color=COLOURS[colour])

    began = fate.until if fate.began is None else fate.began
    bar(plan.at, min(began, fate.until), "waiting")
    if fate.began is not None:
        ended = _END if fate.ended is None else fate.ended
        bar(fate.began, min(ended, fate.until), "accepted")
        bar(max(fate.began, fate.until), ended, "slow")
    if fate.outcome == "timed out":
        axes.plot(fate.until, row, "|", color=COLOURS["failed"], markersize=13, markeredgewidth=2.4)
    elif fate.outcome != "served":
        axes.plot(fate.until, row, "x", color=COLOURS["rejected"], markersize=7, markeredgewidth=2.4)
        if fate.outcome != "refused":
            axes.text(fate.until + 0.25, row, fate.outcome.partition(":")[0], va="center", **_SMALL)


def _first_difference(reference: Sequence[_Fate], yours: Sequence[_Fate]) -> tuple[int, str] | None:
    """The row of the first call that the two treated differently, and the difference in words."""
    for row, (expected, observed) in enumerate(zip(reference, yours, strict=True)):
        name = f"{_PLANS[row].tenant} {row + 1}"
        if expected.outcome != observed.outcome:
            return row, f"First difference, {name}: {expected.outcome} by the reference, {observed.outcome} by yours."
        for what in ("began", "until"):
            mine, theirs = getattr(observed, what), getattr(expected, what)
            if mine != theirs and (mine is None or theirs is None or abs(mine - theirs) > 0.05):
                expected_words, observed_words = _did(what, theirs), _did(what, mine)
                return row, f"First difference, {name}: {expected_words} by the reference, {observed_words} by yours."
    return None


def _did(what: str, instant: float | None) -> str:
    verb = {"began": "began", "until": "came back"}[what]
    return f"it never {verb}" if instant is None else f"it {verb} at {instant:.1f} s"
