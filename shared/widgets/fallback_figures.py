"""The still figures of exercise 17.2.4: the incident, an outage with its recovery, and a learner's service beside the
reference.

Each is drawn from a run in simulated time, so the same bytes come out of every run.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from shared.palette import COLOURS, PAPER
from shared.resilience.fallback import RecommendationService
from shared.widgets.fallback_simulation import BIN, LEVELS, FallbackSimulation, Seen
from shared.widgets.style import Picture, course_style, picture_of
from shared.widgets.unwritten import needs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["compare_with_reference", "incident_figure", "outage_figure"]

_FAINT, _INK = PAPER["light"]["faint"], PAPER["light"]["ink"]
_SMALL: dict[str, Any] = {"fontsize": 8.5, "color": _FAINT}
_KILLED = 120.0
Columns = Sequence[dict[str, float | None]]
Kept = list[tuple[float, str, Seen]]


def _outage(
    seconds: float, revived: float, service: Callable[..., Any] = RecommendationService
) -> tuple[Columns, Kept]:
    """The columns and the answers of a run whose client is dead from `_KILLED` until `revived`, or the end."""
    kept: Kept = []
    simulation = FallbackSimulation(service=service, keep=lambda *each: kept.append(each))
    before = len(simulation.columns)
    simulation.step(_KILLED)
    simulation.set("up", 0)
    simulation.step(min(revived, seconds) - _KILLED)
    simulation.set("up", 1)
    simulation.step(max(0.0, seconds - revived))
    return simulation.columns[before:], kept


@functools.cache
def incident_figure() -> Picture:
    """The incident: the success rate that was watched, above the shares per level that were not."""
    import matplotlib.pyplot as plt

    seconds = 720.0
    columns, _ = _outage(seconds, revived=seconds)
    with course_style():
        figure, (watched, real) = plt.subplots(2, 1, sharex=True, figsize=(8.6, 4.2), height_ratios=[0.7, 1.5])
        watched.plot([0, seconds], [100, 100], color=COLOURS["accepted"], linewidth=2.4)
        watched.set(ylim=(0, 118), ylabel="% of pages", title="What the dashboard showed: pages answered")
        _draw_shares(real, columns)
        real.set(title="What people got", xlabel="seconds", xlim=(0, seconds))
        for axes in (watched, real):
            _shade(axes, seconds)
        watched.text(_KILLED + 6, 12, "recommender dead", **_SMALL)
        figure.legend(*_legend(), loc="outside lower center", ncols=3, fontsize=8.5, handlelength=1.0)
        return picture_of(
            figure,
            f"Above, pages answered over {seconds:.0f} s: a flat line at 100 %. Below, the shares per level of that "
            f"time: about {_percent(columns, 11)} until the recommender dies at {_KILLED:.0f} s, then "
            f"{_percent(columns, 13)} just after, and {_percent(columns, -1)} from five minutes later on.",
        )


@functools.cache
def outage_figure() -> Picture:
    """Shares per level through an outage of eight minutes, to recovery."""
    import matplotlib.pyplot as plt

    seconds, revived = 840.0, 600.0
    columns, _ = _outage(seconds, revived)
    with course_style():
        figure, axes = plt.subplots(figsize=(8.6, 2.8))
        _draw_shares(axes, columns)
        _shade(axes, revived)
        axes.axvline(_KILLED + 300, color=_INK, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.text(_KILLED + 306, 106, "dead for 5 minutes: every entry is too old", **_SMALL)
        axes.set(title="Answers per level", xlabel="seconds", xlim=(0, seconds))
        figure.legend(*_legend(), loc="outside lower center", ncols=3, fontsize=8.5, handlelength=1.0)
        return picture_of(
            figure,
            f"Shares per level over {seconds:.0f} s. The client dies at {_KILLED:.0f} s and is back at {revived:.0f} s."
            f" Before: {_percent(columns, 11)}. A minute into the outage: {_percent(columns, 18)}. After five minutes: "
            f"{_percent(columns, 45)}. At the end: {_percent(columns, -1)}.",
        )


def compare_with_reference(yours: Callable[..., Any]) -> Picture:
    """Your service and the reference through the same outage: shares per level, and the first answer that differs.

    Raises NotImplementedError where the answer does.
    """
    import matplotlib.pyplot as plt

    seconds, revived = 720.0, 540.0
    with needs("RecommendationService"):
        own = _outage(seconds, revived, yours)
    runs = {"The reference": _outage(seconds, revived), "Yours": own}
    words = _first_difference(runs["The reference"][1], runs["Yours"][1])
    with course_style():
        figure, rows = plt.subplots(2, 1, sharex=True, figsize=(8.6, 4.4))
        for axes, (title, (_, kept)) in zip(rows, runs.items(), strict=True):
            _draw_shares(axes, _columns(kept, seconds))
            _shade(axes, revived)
            axes.set(title=title, xlim=(0, seconds))
        rows[1].set_xlabel("seconds")
        figure.suptitle("\n".join(textwrap.wrap(words, 112)), x=0.01, ha="left", fontsize=9.5, color=_INK)
        figure.legend(*_legend(), loc="outside lower center", ncols=3, fontsize=8.5, handlelength=1.0)
        return picture_of(figure, words)


def _columns(kept: Kept, seconds: float) -> Columns:
    """The shares of the answers themselves, whatever the metrics say; what is no level is a gap on top."""
    counts = [dict.fromkeys([*LEVELS, "all"], 0) for _ in range(round(seconds / BIN))]
    for instant, _, (level, _) in kept:
        column = counts[min(int(instant / BIN), len(counts) - 1)]
        column["all"] += 1
        if level in LEVELS:
            column[level] += 1
    return [{level: each[level] / each["all"] if each["all"] else None for level in LEVELS} for each in counts]


def _first_difference(reference: Kept, yours: Kept) -> str:
    for (instant, user, theirs), (_, _, seen) in zip(reference, yours, strict=True):
        if _comparable(theirs) != _comparable(seen):
            dead = "" if instant < _KILLED else f", {instant - _KILLED:.0f} s after the client died"
            gets = f"{user} gets {_told(theirs)} from the reference, {_told(seen)} from yours"
            return f"First difference at {instant:.1f} s{dead}: {gets}."
    return f"The same on all {len(reference)} answers."


def _comparable(seen: Seen) -> Seen:
    level, items = seen
    return level, list(items) if isinstance(items, list | tuple) else items


def _told(seen: Seen) -> str:
    level, items = seen
    return f"an exception ({items})" if level == "raised" else f"{level!r} with {items}"


def _percent(columns: Columns, index: int) -> str:
    return ", ".join(f"{share or 0.0:.0%} {LEVELS[level].label}" for level, share in columns[index].items())


def _draw_shares(axes: Axes, columns: Columns) -> None:
    bottom = [0.0] * len(columns)
    edges = [BIN * number for number in range(len(columns) + 1)]
    for level, line in LEVELS.items():
        top = [low + 100 * (column[level] or 0.0) for low, column in zip(bottom, columns, strict=True)]
        axes.stairs(top, edges, baseline=bottom, fill=True, color=COLOURS[line.colour])
        bottom = top
    axes.set(ylim=(0, 118), yticks=[0, 50, 100], ylabel="% of answers")


def _shade(axes: Axes, until: float) -> None:
    axes.axvspan(_KILLED, until, color=COLOURS["note"], alpha=0.14, linewidth=0)


def _legend() -> tuple[list[Any], list[str]]:
    from matplotlib.patches import Patch

    return [Patch(color=COLOURS[line.colour]) for line in LEVELS.values()], [line.label for line in LEVELS.values()]
