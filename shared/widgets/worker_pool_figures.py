"""The still figures of exercise 17.1.1: the incident, two storms, and a learner's pool beside the reference.

Each is drawn from a run in simulated time, so the same bytes come out of every run.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from shared.observability.contracts import PoolSnapshot, Saturated
from shared.observability.instrumented_worker_pool import InstrumentedWorkerPool
from shared.palette import COLOURS, PAPER
from shared.simulation import VirtualTime
from shared.widgets.style import Picture, course_style, picture_of
from shared.widgets.unwritten import needs
from shared.widgets.worker_pool_simulation import CALM, OUTCOMES, QUEUE_SIZE, SLOW, TRIPLE, PoolSimulation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["compare_with_reference", "incident_figure", "worker_pool_storyboard"]

_FAINT, _INK = PAPER["light"]["faint"], PAPER["light"]["ink"]
_SMALL: dict[str, Any] = {"fontsize": 8.5, "color": _FAINT}
_MINUTE = 60

_Rows = dict[str, list[list[float]]]


def _run(seconds: int, dials: Mapping[int, Mapping[str, float]]) -> _Rows:
    """The rows of every pane over `seconds`, with the dials turned at the seconds that `dials` says."""
    simulation = PoolSimulation()
    rows: _Rows = {}
    for second in range(seconds):
        for dial, value in dials.get(second, {}).items():
            simulation.set(dial, value)
        simulation.step(1.0)
        for pane, new in simulation.frame()["panes"].items():
            rows.setdefault(pane, []).extend([math.nan if cell is None else cell for cell in row[1:]] for row in new)
    return rows


@functools.cache
def incident_figure() -> Picture:
    """The incident: one task in 25 takes ten times as long, and the mean since the start hardly moves."""
    import matplotlib.pyplot as plt

    begin, end, seconds = 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE
    rows = _run(seconds, {begin: {"stragglers": 0.04}, end: {"stragglers": 0.0}})
    minutes = [second / _MINUTE for second in range(1, seconds + 1)]
    mean, p99 = [row[1] for row in rows["p99"]], [row[0] for row in rows["p99"]]
    waiting, refused = [row[0] for row in rows["pool"]], sum(row[2] for row in rows["tasks"])
    with course_style():
        figure, (seen, run_time, queue) = plt.subplots(3, 1, sharex=True, figsize=(8.6, 4.8))
        seen.plot(minutes, mean, color=COLOURS["note"])
        seen.set(title="What the dashboard showed: mean run time since the restart", ylabel="seconds", ylim=(0, 3.2))
        run_time.plot(minutes, p99, color=COLOURS["slow"])
        run_time.set(title="p99 of the last 60 s", ylabel="seconds", ylim=(0, 1.15 * max(p99[_MINUTE:])))
        queue.fill_between(minutes, waiting, step="pre", color=COLOURS["waiting"], linewidth=0)
        queue.set(title=f"Waiting tasks, of {QUEUE_SIZE}", ylabel="tasks", xlabel="time (min)", xlim=(0, 15))
        for axes in (seen, run_time, queue):
            axes.axvspan(begin / _MINUTE, end / _MINUTE, color=COLOURS["note"], alpha=0.14, linewidth=0, zorder=0)
        seen.text(begin / _MINUTE + 0.1, 2.7, "one task in 25 takes ten times as long", **_SMALL)
        calm, storm = max(p99[_MINUTE:begin]), max(p99[begin:end])
        return picture_of(
            figure,
            f"Fifteen minutes; from minute 5 to minute 10 one task in 25 takes ten times as long. The mean since the "
            f"restart goes from {mean[begin - 1]:.2f} s to {max(mean):.2f} s. The 99th percentile of the last minute "
            f"goes from {calm:.2f} s to {storm:.1f} s, up to {max(waiting):.0f} tasks wait, {refused:.0f} are refused.",
        )


@functools.cache
def worker_pool_storyboard() -> Picture:
    """The playground's story: traffic triples for a minute, then tasks are slow for a minute."""
    import matplotlib.pyplot as plt

    seconds = 360
    storms = ((60, 120, "traffic ×3", TRIPLE), (200, 260, "slow tasks", SLOW))
    rows = _run(seconds, {at: dials for start, end, _, storm in storms for at, dials in ((start, storm), (end, CALM))})
    with course_style():
        figure, (tasks, pool, p99) = plt.subplots(3, 1, sharex=True, figsize=(8.6, 5.2))
        _stack(tasks, rows["tasks"], [(line.label, COLOURS[line.colour]) for line in OUTCOMES.values()])
        tasks.set(title="Tasks per second", ylabel="tasks/s")
        tasks.legend(loc="upper right", ncols=3, fontsize=8.5, handlelength=1.0)
        for index, (label, colour) in enumerate((("waiting", "waiting"), ("active workers", "accepted"))):
            pool.plot(range(1, seconds + 1), [row[index] for row in rows["pool"]], color=COLOURS[colour], label=label)
        pool.set(title=f"Waiting tasks (at most {QUEUE_SIZE}), active workers (of 8)", ylabel="count")
        pool.legend(loc="upper right", fontsize=8.5)
        p99.plot(range(1, seconds + 1), [row[0] for row in rows["p99"]], color=COLOURS["slow"])
        p99.set(title="p99 of the run time, last 60 s", ylabel="seconds", xlabel="time (s)", xlim=(0, seconds))
        p99.set_ylim(bottom=0)
        for start, end, name, _ in storms:
            for axes in (tasks, pool, p99):
                axes.axvspan(start, end, color=COLOURS["note"], alpha=0.14, linewidth=0, zorder=0)
            tasks.text(start + 1, tasks.get_ylim()[1] * 0.92, name, va="top", **_SMALL)
        high = [max(row[0] for row in rows["p99"][start:end]) for start, end, _, _ in storms]
        return picture_of(
            figure,
            f"Six minutes. Traffic triples from 60 s to 120 s: the queue fills up within seconds, tasks are refused, "
            f"and p99 of the run time stays at {high[0]:.2f} s. From 200 s to 260 s tasks take three times as long: "
            f"p99 rises to {high[1]:.2f} s at once and falls 60 s after they are quick again.",
        )


def _stack(axes: Axes, rows: Sequence[Sequence[float]], kinds: Sequence[tuple[str, str]]) -> None:
    """Stacked columns, one per second, with room above them for words."""
    base: list[float] = [0.0] * len(rows)
    for index, (label, colour) in enumerate(kinds):
        top = [below + row[index] for below, row in zip(base, rows, strict=True)]
        axes.stairs(top, range(len(top) + 1), baseline=base, fill=True, color=colour, label=label)
        base = top
    axes.set_ylim(0, max(base) * 1.3)


_WORKERS, _SEATS = 2, 4
_ROWS = (
    ("queued", "1 waiting", 1.0),
    ("active", "2 active", 1.0),
    ("p99_60s", "3 p99 (s)", 1.032),
    ("failed_5m", "4 failed in 5 min", 1.0),
    ("rejecting", "5 rejecting", 1.0),
)
_LOOKS = [turn + 0.5 for turn in range(480)]


def compare_with_reference(pool: Callable[..., Any]) -> Picture:
    """The five answers of your pool and of the reference over eight minutes, and where they first differ.

    `pool` is a class with `InstrumentedWorkerPool`'s interface. Raises NotImplementedError where the answer does, and
    Deadlock with who waits for whom where the tasks cannot end.
    """
    with needs("InstrumentedWorkerPool"):
        yours = VirtualTime().run(_drive, pool)
    reference = VirtualTime().run(_drive, InstrumentedWorkerPool)
    return _draw_comparison(reference, yours)


def _traffic() -> list[tuple[float, float, bool]]:
    """When each task comes, how long it runs, and whether it fails: calm, a storm from 60 s to 80 s, silence."""
    calm = [(2.0 * turn + 0.125, 1.0 + turn % 5 / 8, turn % 10 == 4) for turn in range(30)]
    storm = [(60.0 + turn / 2 + 0.125, 2.0 + turn % 7 / 8, turn % 4 == 1) for turn in range(40)]
    return calm + storm


def _drive(make: Callable[..., Any]) -> list[PoolSnapshot]:
    """Runs under VirtualTime, so `threading` and `time` are virtual here."""
    pool = make(_WORKERS, _SEATS, CollectorRegistry(), time.monotonic)
    told: list[PoolSnapshot] = []
    events = sorted([(at, (lasts, fails)) for at, lasts, fails in _traffic()] + [(at, None) for at in _LOOKS])
    for at, task in events:
        time.sleep(max(0.0, at - time.monotonic()))
        if task is None:
            told.append(pool.snapshot())
            continue
        try:
            pool.submit(_task, *task)
        except Saturated:
            continue
    pool.shutdown()
    return told


def _task(lasts: float, fails: bool) -> None:
    time.sleep(lasts)
    if fails:
        raise ValueError("as planned")


def _draw_comparison(reference: Sequence[PoolSnapshot], yours: Sequence[PoolSnapshot]) -> Picture:
    import matplotlib.pyplot as plt

    differs = _first_difference(reference, yours)
    words = f"The same five answers at all {len(_LOOKS)} looks." if differs is None else differs[1]
    with course_style():
        figure, panels = plt.subplots(len(_ROWS), 1, sharex=True, figsize=(8.6, 5.6))
        for axes, (name, title, _) in zip(panels, _ROWS, strict=True):
            for told, label, colour, width in ((reference, "the reference", "waiting", 4.5), (yours, "yours", "", 1.3)):
                values = [_value(each, name) for each in told]
                axes.plot(_LOOKS, values, color=COLOURS.get(colour, _INK), linewidth=width, label=label)
            axes.set_ylabel(title, rotation=0, ha="right", va="center")
            axes.set_ylim(bottom=-0.05)
            axes.margins(y=0.2)
            if differs is not None:
                axes.axvline(differs[0], color=COLOURS["failed"], linewidth=1.2, linestyle=(0, (4, 3)))
        panels[-1].set(xlabel="time (s)", xlim=(0, _LOOKS[-1]))
        panels[0].legend(loc="upper right", ncols=2, fontsize=8.5)
        figure.suptitle(words, x=0.01, ha="left", fontsize=10.5, color=_INK)
        return picture_of(figure, words)


def _value(told: PoolSnapshot, name: str) -> float:
    value = getattr(told, name)
    return math.nan if value is None else float(value)


def _first_difference(reference: Sequence[PoolSnapshot], yours: Sequence[PoolSnapshot]) -> tuple[float, str] | None:
    """The instant at which the two first told different things, within what the rules allow, and the difference."""
    for number, (expected, observed) in enumerate(zip(reference, yours, strict=True)):
        for name, _, within in _ROWS:
            near = [getattr(each, name) for each in reference[max(0, number - 2) : number + 3]]
            mine = getattr(observed, name)
            if not any(_alike(value, mine, within) for value in near):
                told = getattr(expected, name)
                return _LOOKS[number], (
                    f"First difference at {_LOOKS[number]:g} s: {name} is {_short(told)} by the reference, "
                    f"{_short(mine)} by yours."
                )
    return None


def _alike(expected: float | None, observed: float | None, within: float) -> bool:
    if expected is None or observed is None:
        return expected is observed
    return expected / within**2 - 1e-9 <= observed <= expected * within**2 + 1e-9


def _short(value: float | None) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
