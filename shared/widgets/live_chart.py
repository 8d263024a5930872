"""A live chart for notebooks: panes on one canvas, fed from any thread; the kernel sends numbers, never pictures.

    chart = LiveChart(
        [Row(160, [Columns("calls", "Calls", "/s", [Line("served", "accepted"), Line("failed", "failed")])])],
        alt="Calls per second, by outcome.",
    )
    calls = [[3.0, 5, 0]]
    chart.push({"t": 3.0, "words": "All is well.", "tone": "accepted", "news": "", "panes": {"calls": calls}})

Every frame goes out as it is pushed. The chart keeps what its panes still show, so that a view which opens later starts
from the whole picture. Colours are names of `shared.palette`; the page's theme gives all others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypedDict

import anywidget
import traitlets

from shared.palette import COLOURS, ON_COLOUR

__all__ = [
    "Cells",
    "Columns",
    "Frame",
    "Gauge",
    "Gauges",
    "Kind",
    "Lanes",
    "Line",
    "Lines",
    "LiveChart",
    "Mark",
    "Row",
    "States",
]


class Frame(TypedDict):
    """What happened since the last frame.

    `panes` maps a pane's id to its data. Columns and lines take new rows `[t, value of each series or None]`; lanes
    take bars `[lane, start, end or None, colour, label]`, where a bar with a known lane and start replaces it; the
    others take their state.
    """

    t: float  # the instant that the picture shows, seconds of the simulation
    words: str  # one line: what is happening now
    tone: str  # the colour beside that line
    news: str  # said aloud by screen readers when it changes; keep it rare
    panes: dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One series: its label and its colour (`ink`, the page's text colour, for a quantity that is no outcome)."""

    label: str
    colour: str


@dataclass(frozen=True)
class Mark:
    """A horizontal line at a value worth comparing with."""

    value: float
    label: str


@dataclass(frozen=True)
class _Pane:
    """What every pane has: a name for its data, and a title with a place."""

    id: str
    title: str
    weight: float = field(default=1.0, kw_only=True)  # its share of the row's width
    share: float = field(default=1.0, kw_only=True)  # its share of the height, where several panes name the same column
    column: str | None = field(default=None, kw_only=True)

    kind: ClassVar[str]

    def keep(self, kept: Any, data: Any, t: float) -> Any:
        """What a view that opens at `t` must be told, given what was kept before and the new data."""
        return data


@dataclass(frozen=True)
class Columns(_Pane):
    """Stacked columns, one per `step` seconds. A row's instant is the end of its column."""

    unit: str
    series: Sequence[Line]
    marks: Sequence[Mark] = ()
    span: float = 60.0
    step: float = 1.0
    least_top: float = 1.0  # the axis ends here or higher
    axis: bool = False  # draw the labels of the time axis

    kind = "columns"

    def keep(self, kept: Any, data: Any, t: float) -> Any:
        oldest = t - self.span - 2 * self.step
        return [row for row in [*(kept or ()), *data] if row[0] > oldest]


@dataclass(frozen=True)
class Lines(Columns):
    """Lines over time; None interrupts a line."""

    kind = "lines"


@dataclass(frozen=True)
class Lanes(_Pane):
    """A timeline: one lane per name, bars from start to end."""

    lanes: Sequence[str]
    span: float = 60.0
    axis: bool = False

    kind = "lanes"

    def keep(self, kept: Any, data: Any, t: float) -> Any:
        bars = {(lane, start): (lane, start, *rest) for lane, start, *rest in [*(kept or ()), *data]}
        return [bar for bar in bars.values() if bar[2] is None or bar[2] >= t - self.span]


@dataclass(frozen=True)
class Kind:
    """How one kind of cell looks: its colours from top to bottom, and a mark (`cross`, `dash` or none)."""

    label: str
    colours: Sequence[str]
    mark: str = ""


@dataclass(frozen=True)
class Cells(_Pane):
    """A strip of `size` cells, the newest on the right.

    Data: `{"cells": [names of kinds, oldest first], "count": cells ever added, "faded": bool, "note": str}`.
    """

    size: int
    kinds: dict[str, Kind]

    kind = "cells"


@dataclass(frozen=True)
class Gauge:
    """A bar from 0 to `top` with a limit. The value is shown multiplied by `scale`, with the unit."""

    id: str
    label: str
    colour: str
    limit: float
    limit_label: str
    unit: str
    top: float = 1.0
    scale: float = 1.0


@dataclass(frozen=True)
class Gauges(_Pane):
    """Bars against their limits, pale while not judged. Data: `{"values": {id: value or None}, "judged": bool}`."""

    bars: Sequence[Gauge]

    kind = "gauges"


@dataclass(frozen=True)
class States(_Pane):
    """A state machine. Nodes are `{id, label, x, y}` (0 to 1), edges `{from, to, label, bend, dx, dy, align}`.

    Data: `{"active": id, "left": seconds, "of": seconds, "taken": {"from>to": times}, "visits": {id: times},
    "notes": {id: text}}`; `left` of `of` is drawn as a ring that empties, where `of` is above 0.
    """

    nodes: Sequence[dict[str, Any]]
    edges: Sequence[dict[str, Any]]
    radius: float = 40.0

    kind = "states"


@dataclass(frozen=True)
class Row:
    """Panes side by side, `height` pixels high; on a narrow page one below the other."""

    height: float
    panes: Sequence[_Pane]


class LiveChart(anywidget.AnyWidget):
    """The chart that draws `rows`. `alt` says in words what it shows.

    `push` may be called from any thread. `watched_at` is the instant on `clock` when a view last said that it is on
    the screen; it starts as the instant of construction.
    """

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")

    rows: traitlets.List[Any] = traitlets.List().tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    colours = traitlets.Dict(COLOURS).tag(sync=True)
    on_colour = traitlets.Dict(ON_COLOUR).tag(sync=True)

    def __init__(self, rows: Sequence[Row], alt: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._panes = {pane.id: pane for row in rows for pane in row.panes}
        self._kept: dict[str, Any] = {}
        self._last: Frame | None = None
        self._lock = threading.RLock()
        self.watched_at = clock()
        super().__init__(rows=[_plain(row) for row in rows], alt=alt)
        self.on_msg(self._answer)

    def push(self, frame: Frame) -> None:
        """Show a frame. Raises KeyError when it names a pane that this chart has not."""
        with self._lock:
            for name, data in frame["panes"].items():
                if name not in self._panes:
                    raise KeyError(f"the chart has no pane {name!r}, only {', '.join(self._panes)}")
                self._kept[name] = self._panes[name].keep(self._kept.get(name), data, frame["t"])
            self._last = frame
            self.send(frame)

    def replay(self) -> Frame | None:
        """One frame that holds everything still on the picture, or None before the first."""
        with self._lock:
            return None if self._last is None else {**self._last, "panes": dict(self._kept)}

    def _answer(self, _: object, content: dict[str, Any], buffers: object) -> None:
        self.watched_at = self._clock()
        if content.get("ask") == "replay":
            with self._lock:  # no frame may overtake the replay that already holds it
                if (frame := self.replay()) is not None:
                    self.send({**frame, "replay": True})


def _plain(row: Row) -> dict[str, Any]:
    return {"height": row.height, "panes": [{"kind": pane.kind, **asdict(pane)} for pane in row.panes]}
