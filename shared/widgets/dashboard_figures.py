"""The still figures of exercise 17.1.3: the incident, row 1 in four situations, and a learner's dashboard beside the
reference. All are drawn from dashboards' own JSON and recorded incidents: the same bytes come out of every run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from shared.observability.dashboard import build_dashboard
from shared.observability.dashboard_layout import Layout, Panel, Query, Row, layout_of
from shared.observability.recording import load
from shared.widgets.dashboard_drawing import GAP, Instant, clock, light, picture, row_height, row_svg, text_svg
from shared.widgets.style import Picture

__all__ = ["INCIDENTS", "compare_with_reference", "dashboard_picture", "dashboard_storyboard", "incident_figure"]

INCIDENTS = (
    "slow-stage", "slow-requests", "near-slo", "errors-20", "errors-2", "traffic-x4", "traffic-32", "traffic-12",
    "stage-saturated",
)  # fmt: skip
"""The recordings that can be looked at: each is disturbed from 03:00 to 03:45."""

_WIDTH = 980.0
_MARGIN = 10.0
_LOW = 104.0  # height of a row in the storyboard


def dashboard_picture(layout: Layout, recording: str, minutes: float, width: float = _WIDTH) -> Picture:
    """A whole dashboard, `minutes` after the onset of a recorded incident."""
    at = _at(recording, minutes)
    parts, height = _drawn(layout, at, _MARGIN, _MARGIN, width - 2 * _MARGIN)
    return picture(parts, width, height + _MARGIN, _alt(layout, at))


@functools.cache
def reference_layout() -> Layout:
    """The course's own dashboard."""
    return layout_of(build_dashboard())


@functools.cache
def incident_figure() -> Picture:
    """The incident: what the old dashboard showed of it, and what the new one does."""
    mean = "sum(rate(request_duration_seconds_sum[5m])) / sum(rate(request_duration_seconds_count[5m]))"
    old = Row("What they had", (_graph("Mean latency", "s", mean), _graph("Queue", "", "sum(worker_pool_queue_size)")))
    layout, at = reference_layout(), _at("slow-stage", 40.0, 7200.0)
    new = (Row("What you will build", layout.rows[0].panels), Row("", layout.rows[1].panels[:2]))
    parts, height = _drawn(Layout("", layout.span, (old, *new)), at, _MARGIN, _MARGIN, _WIDTH - 2 * _MARGIN)
    return picture(
        parts,
        _WIDTH,
        height + _MARGIN,
        "Above: two curves over two hours, mean latency and the sum of all queues; from 03:00 on both are higher. "
        "Below: the same data as three tiles, latency red, errors and throughput green, and one line per stage, of "
        "which only resize rises.",
    )


@functools.cache
def dashboard_storyboard() -> Picture:
    """Row 1 and the queues in four situations."""
    layout = reference_layout()
    panels = (*layout.rows[0].panels, layout.rows[1].panels[0])
    parts: list[str] = []
    y = _MARGIN
    for title, recording, minutes in (
        ("A quiet night", "slow-stage", -10.0),
        ("The resize stage is too slow", "slow-stage", 20.0),
        ("20 % of the requests fail", "errors-20", 20.0),
        ("The store stage works at 100 %, and users notice nothing", "stage-saturated", 20.0),
    ):
        row = Row(title, panels)
        parts.append(row_svg(row, _at(recording, minutes), _MARGIN, y, _WIDTH - 2 * _MARGIN, layout.span, _LOW))
        y += row_height(row, _LOW)
    return picture(
        parts,
        _WIDTH,
        y + _MARGIN,
        "Row 1 and the queue panel in four situations. Quiet: three green lights, no queue. Slow stage: latency red, "
        "resize has a queue. Errors: the error light red. Store saturated: three green lights, and a queue at store.",
    )


def compare_with_reference(build: Callable[[], Any]) -> Picture:
    """A learner's dashboard on the left, the reference on the right, 20 minutes into the slow stage.

    The words name the first incident in which the lights differ. NotImplementedError passes through.
    """
    yours, reference = layout_of(build()), reference_layout()
    at, half = _at("slow-stage", 20.0), (_WIDTH - 3 * _MARGIN) / 2
    parts: list[str] = []
    heights = []
    for place, (title, layout) in enumerate((("Yours", yours), ("The reference", reference))):
        x = _MARGIN + place * (half + _MARGIN)
        parts.append(text_svg(x, 20, f"{title}, {clock(at.moment)}", size=13, bold=True))
        drawn, height = _drawn(layout, at, x, 48.0, half)
        parts += drawn
        heights.append(height)
    words = _difference(yours, reference)
    parts.append(text_svg(_MARGIN, 38, words, css="faint"))
    return picture(parts, _WIDTH, max(heights) + _MARGIN, words)


def _difference(yours: Layout, reference: Layout) -> str:
    """The first light that differs, in words."""
    theirs = reference.rows[0].panels
    own = yours.rows[0].panels if yours.rows else ()
    if len(own) != len(theirs):
        return f"Your first row has {len(own)} panels, the reference's {len(theirs)}."
    for recording in INCIDENTS:
        at = _at(recording, 20.0)
        for mine, other in zip(own, theirs, strict=True):
            colour, words = light(mine, at, yours.span)
            right, _ = light(other, at, reference.span)
            if colour != right:
                return (
                    f"First difference: {load(recording).title}, after 20 min. {other.title} is {right} by the "
                    f"reference, yours is {colour or 'without a colour'} ({words[:60]})."
                )
    return f"The lights have the same colours in all {len(INCIDENTS)} incidents."


def _drawn(layout: Layout, at: Instant, x: float, y: float, width: float) -> tuple[list[str], float]:
    """The rows one below the other, and where they end."""
    parts = []
    for row in layout.rows:
        parts.append(row_svg(row, at, x, y, width, layout.span))
        y += row_height(row)
    return parts, y - GAP


def _alt(layout: Layout, at: Instant) -> str:
    lights = [
        f"{panel.title}: {light(panel, at, layout.span)[0] or 'no colour'}"
        for panel in (layout.rows[0].panels if layout.rows else ())
    ]
    return f"{load(at.recording).title}, at {clock(at.moment)}. {'; '.join(lights)}."


def _at(recording: str, minutes: float, span: float = 3600.0) -> Instant:
    onset = load(recording).onset
    assert onset is not None
    return Instant(recording, onset + 60 * minutes, span)


def _graph(title: str, unit: str, expr: str) -> Panel:
    return Panel(title, "timeseries", (Query(expr, "prometheus", False, True, title.lower()),), unit=unit)
