"""The still figure of the composed example: what the users of the chapter's opening incident got, second by second.

Drawn from replays in virtual time, so the same bytes come out of every run.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from shared.palette import COLOURS
from shared.widgets.composed_simulation import BURST, OUTCOMES, SECONDS, VARIANTS, Replay, replay
from shared.widgets.style import Picture, course_style, picture_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["composed_figure"]

_SHOWN = ("as it was", "without breaker", "all four", "with a bulkhead")


@functools.cache
def composed_figure() -> Picture:
    """The incident under four of the variants, one above the other: outcomes of each second's requests, and p99."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    runs = {name: replay(VARIANTS[name]) for name in _SHOWN}
    with course_style():
        figure, rows = plt.subplots(len(runs), 1, sharex=True, sharey=True, figsize=(8.6, 6.2))
        for axes, (name, run) in zip(rows, runs.items(), strict=True):
            _draw_outcomes(axes, run)
            axes.set_title(f"{name[0].upper()}{name[1:]}: p99 {run.p99:.2f} s, {run.share('live'):.0%} live in time")
        rows[0].text(BURST[0] + 0.1, 222, "the burst", fontsize=8.5, color=COLOURS["note"])
        rows[-1].set(xlabel="second in which the request came", xlim=(0, SECONDS))
        figure.supylabel("requests per second", fontsize=9.5)
        patches = [Patch(color=COLOURS[line.colour]) for line in OUTCOMES.values()]
        labels = [line.label for line in OUTCOMES.values()]
        figure.legend(patches, labels, loc="outside lower center", ncols=len(labels), fontsize=8.5, handlelength=1.0)
        told = " ".join(f"{name[0].upper()}{name[1:]}: {_in_words(run)}." for name, run in runs.items())
        start, end = BURST
        return picture_of(
            figure,
            f"Four strips over {SECONDS:.0f} s: what became of each second's requests. From {start:.0f} to {end:.0f} s "
            f"eight times as many come. {told}",
        )


def _draw_outcomes(axes: Axes, run: Replay) -> None:
    columns = run.columns()
    edges = list(range(len(columns) + 1))
    bottom = [0.0] * len(columns)
    axes.axvspan(*BURST, color=COLOURS["note"], alpha=0.14, linewidth=0)
    for outcome, line in OUTCOMES.items():
        top = [low + column[outcome] for low, column in zip(bottom, columns, strict=True)]
        axes.stairs(top, edges, baseline=bottom, fill=True, color=COLOURS[line.colour])
        bottom = top
    axes.set(ylim=(0, 260), yticks=[0, 100, 200])


def _in_words(run: Replay) -> str:
    shares = ", ".join(f"{share:.0%} {outcome}" for outcome in OUTCOMES if (share := run.share(outcome)) >= 0.005)
    return f"p99 {run.p99:.2f} s; {shares}"
