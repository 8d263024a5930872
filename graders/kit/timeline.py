"""A history drawn as a timeline: one lane per thread, time from left to right, the event where things part marked.

Columns are moments, not a linear scale: a wait of 30 s and a call of 1 ms are both readable; the labels carry the time.
"""

from __future__ import annotations

from html import escape

from graders.kit.check import Event, History
from shared.palette import COLOURS

__all__ = ["moment", "timeline_svg"]

_MAX_EVENTS = 36
_LONG = 10_000.0
_LANE = 30
_SLOT = 22
_TOP, _LEFT, _BOTTOM = 14, 96, 26
_MARK = COLOURS["failed"]
_INK = "var(--jp-content-font-color1,#1b1b1b)"
_FAINT = "var(--jp-border-color2,#d9d9d9)"


def moment(seconds: float) -> str:
    """An instant in words: seconds, and from 10,000 of them on days, hours and minutes."""
    if abs(seconds) < _LONG:
        return f"{seconds:.6g} s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    days, hours = divmod(hours, 24)
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if number]
    return " ".join([*parts, *([f"{rest:.4g} s"] if rest >= 0.001 else [])])


def timeline_svg(history: History, at: int | None = None) -> str:
    """An SVG of the part of the history around event `at` (its end, if None). Every label is escaped."""
    focus = at if at is not None and 0 <= at < len(history) else len(history) - 1
    first = max(0, min(focus - _MAX_EVENTS * 2 // 3, len(history) - _MAX_EVENTS))
    events = history[first : first + _MAX_EVENTS]
    lanes = list(dict.fromkeys(str(event.get("who", "")) for event in events))
    starts, ends, labels, width = _columns(events)
    height = _TOP + _LANE * len(lanes) + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" '
        f'style="font:11px var(--jp-ui-font-family,system-ui,sans-serif)">',
        f"<title>{escape(_alt(events, first, at))}</title>",
    ]
    for number, lane in enumerate(lanes):
        y = _TOP + _LANE * number + _LANE / 2
        parts.append(f'<line x1="{_LEFT - 8}" x2="{width - 8}" y1="{y}" y2="{y}" stroke="{_FAINT}"/>')
        parts.append(f'<text x="4" y="{y + 4}" fill="{_INK}">{escape(_shortened(lane, 14))}</text>')
    for x, label in labels:
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{height - _BOTTOM + 4}" '
            f'stroke="{_FAINT}" stroke-dasharray="2 3"/>'
        )
        parts.append(f'<text x="{x}" y="{height - 8}" fill="{_INK}" text-anchor="middle">{escape(label)}</text>')
    for index, event in enumerate(events):
        y = _TOP + _LANE * lanes.index(str(event.get("who", ""))) + _LANE / 2
        parts.append(_mark(event, starts[index], ends[index], y))
        if first + index == at:
            parts.append(
                f'<rect x="{starts[index] - 9}" y="{y - 13}" width="{max(18, ends[index] - starts[index] + 18)}" '
                f'height="26" rx="5" fill="none" stroke="{_MARK}" stroke-width="2.5"/>'
            )
    if first:
        parts.append(f'<text x="4" y="{_TOP - 3}" fill="{_INK}">… {first} earlier</text>')
    parts.append("</svg>")
    return "".join(parts)


def _columns(events: History) -> tuple[list[float], list[float], list[tuple[float, str]], float]:
    """Where each event starts and ends, the labelled moments, and the width of it all, in pixels."""
    moments: dict[float, list[int]] = {}
    for index, event in enumerate(events):
        moments.setdefault(_time(event, "t"), []).append(index)
        moments.setdefault(_time(event, "until"), [])
    starts = [0.0] * len(events)
    left: dict[float, float] = {}
    labels = []
    x, last_label = float(_LEFT), -1e9
    for instant in sorted(moments):
        left[instant] = x
        label = moment(instant)
        if x - last_label > 7 * len(label):
            labels.append((x, label))
            last_label = x
        for index in moments[instant]:
            starts[index] = x
            x += _SLOT
        if not moments[instant]:
            x += _SLOT
    ends = [
        left[_time(event, "until")] if _time(event, "until") > _time(event, "t") else start
        for event, start in zip(events, starts, strict=True)
    ]
    return starts, ends, labels, x + 24


def _time(event: Event, key: str) -> float:
    value = event.get(key, event.get("t", 0.0))
    return float(value) if isinstance(value, int | float) else 0.0


def _mark(event: Event, start: float, end: float, y: float) -> str:
    kind = str(event.get("kind", "note"))
    colour = COLOURS.get(kind, COLOURS["note"])
    tip = f"<title>{escape(_words(event))}</title>"
    if end > start:
        shape = f'<rect x="{start - 6}" y="{y - 7}" width="{end - start + 12}" height="14" rx="4"'
        return f'{shape} fill="{colour}">{tip}</rect>'
    if kind == "rejected":
        cross = f"M{start - 5} {y - 5}l10 10m0 -10l-10 10"
        return f'<path d="{cross}" stroke="{colour}" stroke-width="3" fill="none">{tip}</path>'
    if kind == "note":
        return f'<path d="M{start} {y - 8}v16" stroke="{colour}" stroke-width="3">{tip}</path>'
    return f'<circle cx="{start}" cy="{y}" r="6" fill="{colour}">{tip}</circle>'


def _words(event: Event) -> str:
    ending = f", raised {event['error']}" if event.get("outcome") == "raised" else ""
    return f"{moment(_time(event, 't'))}: {event.get('what', '')}{ending}"


def _alt(events: History, first: int, at: int | None) -> str:
    if at is not None and 0 <= at - first < len(events):
        return f"Timeline of {len(events)} events; they part at {_words(events[at - first])}"
    return f"Timeline of {len(events)} events"


def _shortened(words: str, limit: int) -> str:
    return words if len(words) <= limit else words[: limit - 1] + "…"
