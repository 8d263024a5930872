"""Panels of a dashboard drawn as SVG, as Grafana would at one instant of a recording.

Invariant: what is drawn comes from the layout and the recording alone, so the same bytes come out every time; a query
that cannot be answered is a panel with words, never an error. Drawn by hand: a redraw takes milliseconds, which a
scrubber needs.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from shared.observability.dashboard_layout import (
    LayoutError,
    Panel,
    Query,
    Row,
    Samples,
    colour_of,
    reading,
    samples,
)
from shared.observability.recording import load
from shared.palette import COLOURS, ON_COLOUR, PAPER
from shared.widgets.style import Picture

__all__ = ["GAP", "Instant", "clock", "light", "picture", "row_height", "row_svg", "shown_value", "text_svg"]

GAP = 8
_HEAD = 22  # a row's title
_LIGHT, _GRAPH = 74, 150
_POINTS = 60
_COLUMNS = 30
_MOST_LINES = 9
_LEGEND_ROWS = 4
_TONES = {"green": COLOURS["accepted"], "yellow": "#F0E442", "red": COLOURS["failed"]}
"""Okabe and Ito's, as in the palette; its orange for "slow" is too near to the red here."""
_MARKS = {"green": "✓", "yellow": "!", "red": "✗"}
_LINES = ("waiting", "failed", "accepted", "rejected", "half-open", "slow", "note")


@dataclass(frozen=True)
class Instant:
    """A recording's name and the instant, unix seconds, at which somebody looks; graphs show `span` seconds before."""

    recording: str
    moment: float
    span: float = 3600.0

    def grid(self, steps: int) -> tuple[float, ...]:
        return tuple(self.moment - self.span * (1 - step / steps) for step in range(steps + 1))


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    width: float
    height: float


def picture(parts: Iterable[str], width: float, height: float, alt: str) -> Picture:
    """One SVG of all parts, on paper of its own that follows the theme of the page."""
    light, dark = (
        "; ".join(f"--{name}: {colour}" for name, colour in PAPER[scheme].items()) for scheme in ("light", "dark")
    )
    style = (
        f"<style>.dash {{ {light}; font: 11px 'DejaVu Sans', system-ui, sans-serif }} "
        f"@media (prefers-color-scheme: dark) {{ .dash {{ {dark} }} }} "
        f'[data-jp-theme-light="true"] .dash {{ {light} }} [data-jp-theme-light="false"] .dash {{ {dark} }} '
        ".dash text { fill: var(--ink) } .dash .faint { fill: var(--faint) } "
        f".dash .on {{ fill: {ON_COLOUR['accepted']} }}</style>"
    )
    svg = (
        f'<svg class="dash" role="img" aria-label="{escape(alt)}" xmlns="http://www.w3.org/2000/svg" '
        f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" '
        f'style="max-width: 100%; height: auto">{style}'
        f'<rect width="100%" height="100%" fill="{PAPER["light"]["paper"]}" style="fill: var(--paper)"/>'
        f"{''.join(parts)}</svg>"
    )
    return Picture(svg, alt)


def text_svg(x: float, y: float, words: str, *, size: float = 11, bold: bool = False, css: str = "") -> str:
    """A line of text; `css` is a class such as "faint"."""
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{weight} class="{css}">{escape(words)}</text>'


def row_height(row: Row, graphs: float = _GRAPH) -> float:
    """How high a row is drawn, its title included: one of coloured panels only is low, others are `graphs` high."""
    low = bool(row.panels) and all(panel.kind in ("stat", "gauge") for panel in row.panels)
    return (_HEAD if row.title else 0) + (_LIGHT if low else graphs) + GAP


def row_svg(row: Row, at: Instant, x: float, y: float, width: float, span: float, graphs: float = _GRAPH) -> str:
    """A row's title and its panels side by side. `span` is the dashboard's range of time, in seconds."""
    head = _HEAD if row.title else 0
    parts = [text_svg(x, y + 14, row.title, size=12, bold=True)] if head else []
    each = (width - GAP * (len(row.panels) - 1)) / max(1, len(row.panels))
    height = row_height(row, graphs) - head - GAP
    for place, panel in enumerate(row.panels):
        box = _Box(x + place * (each + GAP), y + head, each, height)
        parts += _panel(panel, box, at, span)
    return "".join(parts)


def clock(moment: float) -> str:
    """The time of day, UTC."""
    return time.strftime("%H:%M", time.gmtime(moment))


def light(panel: Panel, at: Instant, span: float) -> tuple[str | None, str]:
    """The colour of a panel of single values, and its value in words; no colour without exactly one value."""
    try:
        series = reading(panel, span, at.recording, (at.moment,))
    except LayoutError as error:
        return None, str(error)
    values = [value for _, (value,) in series if not math.isnan(value)]
    if len(values) != 1:
        return None, f"{len(values)} values" if values else "No data"
    return colour_of(panel.steps, values[0]), shown_value(values[0], panel.unit)


def shown_value(value: float, unit: str) -> str:
    """A value with its unit as Grafana writes it."""
    scales = {
        "bytes": ((2.0**30, " GiB"), (2.0**20, " MiB"), (2.0**10, " KiB"), (0.0, " B")),
        "percentunit": ((0.0, " %"),),
        "s": ((1.0, " s"), (0.0, " ms")),
        "reqps": ((0.0, " req/s"),),
    }
    least, name = next((scale for scale in scales.get(unit, ()) if abs(value) >= scale[0]), (0.0, ""))
    value *= 100.0 if unit == "percentunit" else 1000.0 if name == " ms" else 1.0 / least if least else 1.0
    return f"{value:.0f}{name}" if abs(value) >= 100 else f"{value:.3g}{name}"


def _panel(panel: Panel, box: _Box, at: Instant, span: float) -> Iterator[str]:
    yield (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="3" '
        'fill="none" stroke="#D7DBE0" style="stroke: var(--rule)"/>'
    )
    if panel.kind in ("stat", "gauge"):
        yield from _light(panel, box, at, span)
        return
    yield text_svg(box.x + 6, box.y + 14, _cut(panel.title, box.width - 12), bold=True)
    inner = _Box(box.x + 6, box.y + 20, box.width - 12, box.height - 26)
    try:
        if panel.kind == "logs":
            yield from _logs(inner, at)
        elif panel.kind == "heatmap":
            yield from _heatmap(panel, inner, at, span)
        elif panel.kind in ("timeseries", "graph"):
            yield from _graph(panel, inner, at, span)
        else:
            yield from _list(panel, inner, at, span)
    except LayoutError as error:
        yield from _words(inner, str(error))


def _light(panel: Panel, box: _Box, at: Instant, span: float) -> Iterator[str]:
    colour, words = light(panel, at, span)
    tone = _TONES.get(colour or "", COLOURS["note"])
    on, mark = "", f"{_MARKS.get(colour or '', '?')} {words}"
    if colour and (panel.kind == "gauge" or panel.colour_mode.startswith("background")):
        on = "on"
        yield (
            f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="3" '
            f'fill="{tone}"/>'
        )
    elif colour:
        yield f'<rect x="{box.x + 6:.1f}" y="{box.y + 58:.1f}" width="28" height="4" fill="{tone}"/>'
    yield text_svg(box.x + 8, box.y + 18, _cut(panel.title, box.width - 16), bold=True, css=on)
    size = min(22.0, 1.5 * (box.width - 16) / max(1, len(mark)))
    yield text_svg(box.x + 8, box.y + 48, _cut(mark, 2 * (box.width - 16)), size=max(9.0, size), bold=True, css=on)


def _graph(panel: Panel, box: _Box, at: Instant, span: float) -> Iterator[str]:
    grid = at.grid(_POINTS)
    lines = [(_name(query, labels), values) for query, labels, values in _series(panel, at, span, grid)]
    if not lines:
        yield from _words(box, "No data")
        return
    unit = 2.0**20 if panel.unit == "bytes" else 1.0
    top = unit * _nice(max((value for _, vs in lines for value in vs if math.isfinite(value)), default=1.0) / unit)
    shown = min(len(lines), _LEGEND_ROWS * _per_row(lines, box))
    legend = 13 * math.ceil(shown / _per_row(lines, box))
    plot = _Box(box.x + 4, box.y + 11, box.width - 8, box.height - legend - 25)
    yield from _axes(plot, at, shown_value(top, panel.unit))
    for place, (_, values) in enumerate(lines[:_MOST_LINES]):
        points = [
            (plot.x + plot.width * step / _POINTS, plot.y + plot.height * (1 - min(1.0, max(0.0, value / top))))
            if math.isfinite(value)
            else None
            for step, value in enumerate(values)
        ]
        dashes = "" if place < len(_LINES) else ' stroke-dasharray="3 2"'
        colour = COLOURS[_LINES[place % len(_LINES)]]
        yield f'<path d="{_path(points)}" fill="none" stroke="{colour}" stroke-width="1.6"{dashes}/>'
    yield from _legend(lines, _Box(box.x, plot.y + plot.height + 24, box.width, legend))


def _heatmap(panel: Panel, box: _Box, at: Instant, span: float) -> Iterator[str]:
    """Cumulative buckets taken apart: the darker, the more requests."""
    bounds: dict[float, tuple[float, ...]] = {}
    for _, labels, values in _series(panel, at, span, at.grid(_COLUMNS)):
        if re.fullmatch(r"\+Inf|[\d.eE+-]+", labels.get("le", "")):
            bound = math.inf if labels["le"] == "+Inf" else float(labels["le"])
            before = bounds.get(bound, (0.0,) * len(values))
            bounds[bound] = tuple(_zero(a) + _zero(b) for a, b in zip(before, values, strict=True))
    if not bounds:
        yield from _words(box, "No buckets: le is lost")
        return
    plot = _Box(box.x + 34, box.y + 4, box.width - 38, box.height - 18)
    yield from _axes(plot, at, "")
    ordered = sorted(bounds)
    wide, high = plot.width / _COLUMNS, plot.height / len(ordered)
    totals = [max(bounds[ordered[-1]][column], 1e-12) for column in range(_COLUMNS + 1)]
    below: tuple[float, ...] = (0.0,) * (_COLUMNS + 1)
    for place, bound in enumerate(ordered):
        y = plot.y + plot.height - (place + 1) * high
        for column in range(1, _COLUMNS + 1):
            share = (bounds[bound][column] - below[column]) / totals[column]
            if share > 0.002:
                yield (
                    f'<rect x="{plot.x + (column - 1) * wide:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" '
                    f'fill="{COLOURS["slow"]}" fill-opacity="{min(1.0, 0.15 + share**0.5):.2f}"/>'
                )
        below = bounds[bound]
        if place % 3 == 0 or bound == math.inf:
            told = "∞" if bound == math.inf else f"{bound:g} s"
            yield text_svg(box.x, y + high, told, size=8.5, css="faint")


def _list(panel: Panel, box: _Box, at: Instant, span: float) -> Iterator[str]:
    """A table or bars: what the queries say now, the most first."""
    rows = [
        (values[0], _name(query, labels))
        for query, labels, values in _series(panel, at, span, (at.moment,))
        if math.isfinite(values[0])
    ]
    if not rows:
        yield from _words(box, "No data")
        return
    rows.sort(key=lambda one: (-one[0], one[1]))
    most = max(abs(rows[0][0]), 1e-12)
    for place, (value, name) in enumerate(rows[:5]):
        y = box.y + 4 + 22 * place
        yield (
            f'<rect x="{box.x:.1f}" y="{y + 13:.1f}" width="{max(1.0, box.width * abs(value) / most):.1f}" height="4" '
            f'fill="{COLOURS["failed"]}"/>'
        )
        told = shown_value(value, panel.unit)
        yield text_svg(box.x, y + 10, f"{_cut(name, box.width - 60)}  {told}", size=10)


def _logs(box: _Box, at: Instant) -> Iterator[str]:
    """No log was recorded: the lines tell what the failure counters counted, scrape by scrape."""
    recording = load(at.recording)
    scrapes = [at.moment - recording.interval * back for back in range(8)]
    query = "sum by (route, type) (increase(requests_failed_total[1m]))"
    told = [
        (moment, f"ERROR {labels['type']:<7} {labels['route']}", value)
        for labels, values in samples(query, 60.0, at.recording, tuple(scrapes))
        for moment, value in zip(scrapes, values, strict=True)
        if value >= 0.5
    ]
    told.sort(key=lambda one: (-one[0], one[1]))
    for place, (moment, words, _) in enumerate(told[: int(box.height // 14)]):
        stamp = time.strftime("%H:%M:%S", time.gmtime(moment))
        yield text_svg(box.x, box.y + 12 + 14 * place, _cut(f"{stamp} {words}", box.width), size=9.5, css="faint")
    if not told:
        yield from _words(box, "No lines")


# Pieces


def _series(
    panel: Panel, at: Instant, span: float, grid: tuple[float, ...]
) -> Iterator[tuple[Query, dict[str, str], tuple[float, ...]]]:
    for query in panel.queries:
        found: Samples = samples(query.expr, span, at.recording, grid)
        for labels, values in found:
            yield query, labels, values


def _name(query: Query, labels: dict[str, str]) -> str:
    """The legend of a series: as the query wants it, or its labels."""
    if query.legend and query.legend != "__auto":
        return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), query.legend)
    told = [text for key, text in sorted(labels.items()) if key not in ("__name__", "instance", "job")]
    return " ".join(told) or labels.get("__name__", "value")


def _axes(plot: _Box, at: Instant, top: str) -> Iterator[str]:
    bottom, right = plot.y + plot.height, plot.x + plot.width
    yield (
        f'<path d="M{plot.x:.1f} {plot.y:.1f}H{right:.1f}M{plot.x:.1f} {bottom:.1f}H{right:.1f}" '
        'stroke="#D7DBE0" style="stroke: var(--rule)" stroke-width="0.8"/>'
    )
    if top:
        yield text_svg(plot.x, plot.y - 3, top, size=8.5, css="faint")
    yield text_svg(plot.x, bottom + 11, clock(at.moment - at.span), size=8.5, css="faint")
    yield text_svg(right - 27, bottom + 11, clock(at.moment), size=8.5, css="faint")


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Lines through the points, interrupted where there is none."""
    parts, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
        else:
            parts.append(f"{pen}{point[0]:.1f} {point[1]:.1f}")
            pen = "L"
    return "".join(parts)


def _per_row(lines: Sequence[tuple[str, object]], box: _Box) -> int:
    longest = min(16, max(len(name) for name, _ in lines))
    return max(1, int(box.width // (6.2 * longest + 18)))


def _legend(lines: Sequence[tuple[str, object]], box: _Box) -> Iterator[str]:
    columns = _per_row(lines, box)
    for place, (name, _) in enumerate(lines[: min(_MOST_LINES, _LEGEND_ROWS * columns)]):
        x = box.x + (place % columns) * box.width / columns
        y = box.y + 13 * (place // columns)
        colour = COLOURS[_LINES[place % len(_LINES)]]
        yield f'<rect x="{x:.1f}" y="{y - 5:.1f}" width="9" height="3" fill="{colour}"/>'
        yield text_svg(x + 13, y, _cut(name, box.width / columns - 15), size=9, css="faint")


def _words(box: _Box, words: str) -> Iterator[str]:
    """Words in the middle of a panel, in lines that fit."""
    letters = max(8, int(box.width // 6))
    lines = [words[start : start + letters] for start in range(0, min(len(words), 4 * letters), letters)]
    for place, line in enumerate(lines):
        yield text_svg(box.x + 2, box.y + box.height / 2 + 13 * (place - len(lines) / 2), line, size=10, css="faint")


def _cut(words: str, width: float) -> str:
    letters = max(3, int(width / 6.2))
    return words if len(words) <= letters else f"{words[: letters - 1]}…"


def _nice(value: float) -> float:
    """The next of 1, 2, 5, 10, … that is not below `value`."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


def _zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0
