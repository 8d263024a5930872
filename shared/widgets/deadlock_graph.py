"""A wait-for graph drawn: threads and locks on a circle, who waits for what and what is held by whom.

Invariant: an arrow always points at what a thread needs next, so that a deadlock is a closed ring of arrows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.observability.deadlock import DumpedThread
from shared.palette import COLOURS, ON_COLOUR, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

__all__ = ["Graph", "draw_graph", "graph_of"]

_INK, _FAINT, _PAPER = PAPER["light"]["ink"], PAPER["light"]["faint"], PAPER["light"]["paper"]
Point = tuple[float, float]


@dataclass(frozen=True)
class Graph:
    """Threads with their state (`idle`, `active`, `ended`), what each waits for, and who holds each lock.

    Locks are keys of their own; `labels` has what is written on them, and may name locks that are free. `cycle` are the
    threads to be marked. `order` keeps threads and locks in one place from picture to picture.
    """

    threads: Mapping[str, str]
    waits_for: Mapping[str, str]
    holder: Mapping[str, str]
    cycle: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    order: Sequence[str] = ()

    @property
    def locks(self) -> list[str]:
        return list(dict.fromkeys([*self.waits_for.values(), *self.holder, *self.labels]))


def graph_of(threads: Iterable[DumpedThread], cycle: Sequence[str] = ()) -> Graph:
    """The graph of a dump: the threads that hold a lock or wait for one."""
    shown = [thread for thread in threads if thread.waits_for or thread.holds]
    return Graph(
        threads={thread.name: "idle" if thread.idle else "active" for thread in shown},
        waits_for={thread.name: thread.waits_for for thread in shown if thread.waits_for},
        holder={lock: thread.name for thread in shown for lock in thread.holds},
        cycle=cycle,
        labels={lock: label for thread in shown for lock, label in thread.labels.items()},
    )


def draw_graph(axes: Axes, graph: Graph, title: str = "", *, small: bool = False) -> None:
    """Draw `graph` on axes of its own. What is in the cycle is red, and its arrows are thick.

    Whole arrows lead from a thread to the lock that it waits for, dashed ones from a lock to its holder; they are
    labelled unless the drawing is `small`.
    """
    places, cycle, boxes = _places(graph), set(graph.cycle), {}
    for lock in graph.locks:
        boxes[lock] = _box(axes, places[lock], graph.labels.get(lock) or lock, "", small)
    for thread, state in graph.threads.items():
        kind = "failed" if thread in cycle else {"active": "accepted", "ended": "note"}.get(state, "waiting")
        boxes[thread] = _box(axes, places[thread], f"{thread}\n{state}", kind, small)
    for thread, lock in graph.waits_for.items():
        _arrow(axes, boxes[thread], boxes[lock], thread in cycle, "" if small else "waits for", "-")
    for lock, thread in graph.holder.items():
        closed = thread in cycle and any(graph.waits_for.get(other) == lock for other in cycle)
        _arrow(axes, boxes[lock], boxes[thread], closed, "" if small else "held by", (0, (4, 2)))
    axes.set(xlim=(-1.75, 1.75), ylim=(-1.3, 1.3))
    axes.set_title(title, fontsize=8.5 if small else None)
    axes.axis("off")


def _box(axes: Axes, place: Point, words: str, kind: str, small: bool) -> Annotation:
    """A thread in the colour of `kind`, or, without one, a lock."""
    paint = {"facecolor": COLOURS[kind], "edgecolor": "none"} if kind else {"facecolor": _PAPER, "edgecolor": _FAINT}
    return axes.annotate(
        words,
        place,
        ha="center",
        va="center",
        fontsize=6.5 if small else 8,
        color=ON_COLOUR[kind] if kind else _INK,
        bbox={"boxstyle": "square,pad=0.4" if kind else "round,pad=0.35", "linewidth": 1.2, **paint},
        zorder=3,
    )


def _arrow(axes: Axes, start: Annotation, end: Annotation, closed: bool, label: str, line: Any) -> None:
    colour = COLOURS["failed"] if closed else _FAINT
    axes.annotate(
        "",
        end.xy,
        start.xy,
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour,
            "linewidth": 2.2 if closed else 1.2,
            "linestyle": line,
            "patchA": start.get_bbox_patch(),
            "patchB": end.get_bbox_patch(),
            "shrinkA": 2,
            "shrinkB": 2,
            "connectionstyle": "arc3,rad=0.12",
        },
        zorder=4,  # after the boxes, whose places on the paper are then known
    )
    middle = ((start.xy[0] + end.xy[0]) / 2, (start.xy[1] + end.xy[1]) / 2)
    away = 0.16 / (math.hypot(*middle) or 1.0)
    axes.text(middle[0] * (1 + away), middle[1] * (1 + away), label, fontsize=7, color=colour, ha="center", va="center")


def _places(graph: Graph) -> dict[str, Point]:
    """Threads and locks around an ellipse, in wait-for order, the cycle first."""
    order = list(graph.order)
    for thread in [*graph.cycle, *graph.threads]:
        here: str | None = thread
        while here is not None and here not in order:
            order.append(here)
            here = graph.waits_for.get(here) or graph.holder.get(here)
    order += [lock for lock in graph.locks if lock not in order]
    turn = 2 * math.pi / max(1, len(order))
    return {
        name: (1.25 * math.cos(math.pi - turn * number), 0.95 * math.sin(math.pi - turn * number))
        for number, name in enumerate(order)
    }
