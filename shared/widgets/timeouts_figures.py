"""The still figures of exercise 17.2.5: the orphans of the incident, four trees, an answer beside the reference.

Each is drawn from `spans` or from a run in virtual time, so the same bytes come out of every run.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from shared.palette import COLOURS, PAPER
from shared.resilience.deadlines import Deadline, call_with_deadline
from shared.widgets.style import Picture, course_style, picture_of
from shared.widgets.timeouts_simulation import LEVELS, SEED_TREE, UPSIDE_DOWN, Span, measured, spans
from shared.widgets.unwritten import needs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["compare_with_reference", "incident_figure", "tree_storyboard"]

_INCIDENT = (2.0, 5.0, 10.0, 30.0)
_CASES = (
    ("a query of 0.4 s, nested", SEED_TREE, 0.4),
    ("a query of 0.9 s, nested", SEED_TREE, 0.9),
    ("a query of 1.6 s, upside down", UPSIDE_DOWN, 1.6),
)
_COLOUR = {"answered": "accepted", "timed out": "slow", "error": "slow"}
Tree = tuple[str, Sequence[Span]]


@functools.cache
def incident_figure() -> Picture:
    """The incident: a query of 25 s under a request of 2 s, before and after the deadline was handed down."""
    before, after = spans(_INCIDENT, 25.0, False), spans(_INCIDENT, 25.0, True)
    lost = sum(span.orphaned for span in before)
    return _drawn(
        [("Each level with its own timeout", before), ("One deadline, handed down", after)],
        f"A request with 2 s over a service with 5 s, a database call with 10 s and a query with 30 s that takes 25 s. "
        f"The user is gone after 2 s; below, the levels work on for {lost:.0f} s in total, for nobody. "
        f"With one deadline handed down, all stop after 2 s.",
        columns=1,
    )


@functools.cache
def tree_storyboard() -> Picture:
    """The playground as a figure: nested and upside down, with and without a deadline that is handed down."""
    trees = [
        ("Nested, query of 0.9 s", spans(SEED_TREE, 0.9, False)),
        ("Nested, deadline handed down", spans(SEED_TREE, 0.9, True)),
        ("Upside down, query of 1.6 s", spans(UPSIDE_DOWN, 1.6, False)),
        ("Upside down, deadline handed down", spans(UPSIDE_DOWN, 1.6, True)),
    ]
    return _drawn(
        trees,
        "Four levels of a request, four times. Nested timeouts leave no orphans. Upside down, the levels below the "
        "request work on after it has gone, in red. With a deadline handed down, they stop with it.",
        columns=2,
    )


def compare_with_reference(deadline: Any, call: Callable[..., Any]) -> Picture:
    """Your `Deadline` and `call_with_deadline` beside the reference, on three requests. Orphaned work is red.

    Raises NotImplementedError where the answer does, and Deadlock where a call does not end.
    """
    trees: list[Tree] = []
    differing = []
    for title, timeouts, work in _CASES:
        with needs("This part"):
            yours = measured((deadline, call), timeouts, work)
        right = measured((Deadline, call_with_deadline), timeouts, work)
        trees += [(f"Yours: {title}", yours), (f"Reference: {title}", right)]
        if _rounded(yours) != _rounded(right):
            differing.append(title)
    found = f"They differ with {'; '.join(differing)}." if differing else "They agree."
    return _drawn(trees, f"Your deadlines beside the reference, on three requests. {found}", columns=2, words=found)


def _rounded(tree: Sequence[Span]) -> list[tuple[str, float, float, float]]:
    return [(span.level, round(span.start, 3), round(span.end, 3), round(span.alone, 3)) for span in tree]


def _drawn(trees: Sequence[Tree], alt: str, columns: int, words: str = "") -> Picture:
    import matplotlib.pyplot as plt

    rows = -(-len(trees) // columns)
    with course_style():
        figure, grid = plt.subplots(
            rows, columns, figsize=(8.6, 1.75 * rows), squeeze=False, sharex="row" if columns > 1 else "all"
        )
        for axes, (title, tree) in zip(grid.flat, trees, strict=True):
            _draw_tree(axes, title, tree)
        for axes in grid[-1]:
            axes.set_xlabel("time (s)")
        if words:
            figure.suptitle(textwrap.fill(words, 105), x=0.01, ha="left", fontsize=10.5, color=PAPER["light"]["ink"])
        return picture_of(figure, alt)


def _draw_tree(axes: Axes, title: str, tree: Sequence[Span]) -> None:
    for span in tree:
        y = LEVELS.index(span.level)
        axes.barh(y, span.alone - span.start, left=span.start, height=0.6, color=COLOURS[_COLOUR[span.outcome]])
        if span.orphaned > 0:
            axes.barh(
                y,
                span.orphaned,
                left=span.alone,
                height=0.6,
                color=COLOURS["failed"],
                hatch="///",
                edgecolor=PAPER["light"]["paper"],
                linewidth=0,
            )
            axes.annotate(
                f"orphan, {span.orphaned:.3g} s",
                (span.end, y),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=COLOURS["failed"],
            )
    axes.set_yticks(range(len(LEVELS)), LEVELS)
    axes.set(title=title, ylim=(len(LEVELS) - 0.4, -0.6))
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    right = max((span.end for span in tree), default=1.0)
    axes.set_xlim(0, max(axes.get_xlim()[1], right * 1.35))
