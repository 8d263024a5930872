"""Exercise 17.1.4's pictures: an alert that the reader tunes over a replayed month, and the figures."""

from __future__ import annotations

from html import escape

import ipywidgets

from shared.palette import COLOURS
from shared.widgets.alerts_figures import alerts_storyboard, compare_with_reference, incident_figure
from shared.widgets.alerts_simulation import SIGNALS, WINDOWS, Detection, Outcome, curve, episodes, replay

__all__ = ["AlertsPlayground", "alerts_playground", "alerts_storyboard", "compare_with_reference", "incident_figure"]

_INK, _FAINT = "var(--jp-content-font-color1,#24292f)", "var(--jp-content-font-color2,#6b7280)"
_RULE, _FONT = "var(--jp-border-color2,#d7dbe0)", "var(--jp-ui-font-family,system-ui,sans-serif)"
_WIDTH, _LEFT, _LANE = 880, 260, 34
_LAST = 60.0  # minutes of an incident on the picture
_DEADLINE = 12.0


def alerts_playground() -> AlertsPlayground:
    """The live panel: signal, window, threshold and `for` of one page, over a month and the incidents."""
    return AlertsPlayground()


class AlertsPlayground:
    """Dials of one alert and what it would have done. Displaying it is enough; it runs no thread of its own."""

    def __init__(self) -> None:
        wide = {"description_width": "80px"}
        flexible = {"width": "auto", "flex": "1 1 260px", "max_width": "400px"}
        self.signal = ipywidgets.ToggleButtons(options=list(SIGNALS), style={"button_width": "90px"})
        self.window = ipywidgets.SelectionSlider(
            options=[(f"{each} min", each) for each in WINDOWS],
            value=5,
            description="Window",
            style=wide,
            layout=flexible,
        )
        self.threshold = ipywidgets.FloatLogSlider(
            value=0.05, base=10, min=-2.5, max=0, step=0.05, description="Threshold", readout_format=".1%", style=wide,
            layout=flexible,
        )  # fmt: skip
        self.hold = ipywidgets.IntSlider(value=5, min=0, max=20, description="for (min)", style=wide, layout=flexible)
        self._picture = ipywidgets.HTML()
        close = ipywidgets.Button(description="Close", icon="times", layout={"width": "90px"})
        close.on_click(lambda _: self.close())
        wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        self._box = ipywidgets.VBox(
            [
                ipywidgets.Box([self.signal, ipywidgets.Box(layout={"flex": "1 1 auto"}), close], layout=wrap),
                ipywidgets.Box([self.window, self.threshold, self.hold], layout=wrap),
                self._picture,
            ],
            layout={"max_width": "1000px"},
        )
        self.signal.observe(lambda change: setattr(self.threshold, "value", SIGNALS[change["new"]].slo), "value")
        for dial in (self.signal, self.window, self.threshold, self.hold):
            dial.observe(lambda _: self._draw(), "value")
        self._draw()

    @property
    def outcome(self) -> Outcome:
        """What the alert would have done, as the dials stand."""
        return replay(self.signal.value, self.window.value, self.threshold.value, float(self.hold.value))

    @property
    def words(self) -> str:
        """The line above the picture."""
        return _summary(self.outcome)

    def close(self) -> None:
        """Take the panel off the page."""
        self._box.children = [ipywidgets.HTML("<em>Closed. Run the cell again to play.</em>")]

    def _draw(self) -> None:
        outcome = self.outcome
        kind = "accepted" if _well(outcome) else "failed"
        head = (
            f'<div role="status" style="font:600 14px {_FONT};color:{_INK};margin:.3em 0">'
            f'<span style="color:{COLOURS[kind]}" aria-hidden="true">●</span> {escape(_summary(outcome))}</div>'
        )
        self._picture.value = head + _svg(
            self.signal.value, self.window.value, self.threshold.value, float(self.hold.value), outcome
        )

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, str]:
        still = alerts_storyboard()
        bundle = dict(self._box._repr_mimebundle_(**kwargs) or {})
        return bundle | {"image/svg+xml": still.svg, "text/plain": still.alt}


def _well(outcome: Outcome) -> bool:
    return not (outcome.pages or outcome.missed or outcome.false_alarms)


def _summary(outcome: Outcome) -> str:
    pages = len(outcome.pages)
    told = [f"{pages} page{'' if pages == 1 else 's'} in 30 quiet days"]
    told += [f"{_told(each)}: {each.title}" for each in outcome.detections]
    return " · ".join(told)


def _told(each: Detection) -> str:
    if each.fired is None:
        return "MISSED" if each.wanted else "rightly silent"
    if not each.wanted:
        return "FALSE ALARM"
    return f"{'TOO LATE, ' if each.fired > _DEADLINE else 'detected after '}{each.fired:g} min"


def _svg(signal: str, window: int, threshold: float, hold: float, outcome: Outcome) -> str:
    """The month as a strip of days, and a lane with the curve for each incident."""
    height = 64 + len(outcome.detections) * (_LANE + 34) + 26
    words = f"threshold {threshold:.1%}, for {hold:g} min: {_summary(outcome)}"
    parts = [
        f'<svg role="img" aria-label="{escape(words)}" viewBox="0 0 {_WIDTH} {height}" width="100%" '
        f'style="max-width:{_WIDTH}px;font:11px {_FONT}">',
        f'<text x="0" y="30" fill="{_INK}">30 quiet days</text>',
    ]
    day = (_WIDTH - _LEFT - 8) / 30
    for number in range(30):
        x = _LEFT + number * day
        parts.append(f'<rect x="{x:.1f}" y="12" width="{day - 2:.1f}" height="28" fill="none" stroke="{_RULE}"/>')
        if number % 5 == 0:
            parts.append(f'<text x="{x:.1f}" y="54" fill="{_FAINT}">day {number + 1}</text>')
    for start, _ in outcome.pages:
        x = _LEFT + start / 1440 * day
        parts.append(f'<rect x="{x:.1f}" y="10" width="2.5" height="32" fill="{COLOURS["failed"]}"/>')
    for row, each in enumerate(outcome.detections):
        parts += _incident(signal, window, threshold, hold, each, 72 + row * (_LANE + 34))
    for minute in range(0, 46, 15):
        x = _x(minute)
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" fill="{_FAINT}" text-anchor="middle">{minute} min</text>')
    for x, label, kind in ((0, "pending", "waiting"), (80, "firing", "failed")):
        parts.append(f'<rect x="{x}" y="{height - 17}" width="10" height="10" fill="{COLOURS[kind]}"/>')
        parts.append(f'<text x="{x + 15}" y="{height - 8}" fill="{_FAINT}">{label}</text>')
    return "".join(parts) + "</svg>"


def _x(minute: float) -> float:
    return _LEFT + (minute + 5) / (_LAST + 5) * (_WIDTH - _LEFT - 8)


def _incident(signal: str, window: int, threshold: float, hold: float, each: Detection, top: float) -> list[str]:
    one = curve(signal, each.name, window)
    shown = (one.minutes >= -5) & (one.minutes <= _LAST)
    highest = max(2 * threshold, float(one.values[shown].max()))
    bottom = top + _LANE

    def y(value: float) -> float:
        return bottom - value / highest * _LANE

    line = " ".join(
        f"{_x(at):.1f},{y(value):.1f}" for at, value in zip(one.minutes[shown], one.values[shown], strict=True)
    )
    parts = [
        f'<rect x="{_x(0):.1f}" y="{top}" width="{_x(45) - _x(0):.1f}" height="{_LANE + 14}" '
        f'fill="{COLOURS["note"]}" opacity="0.14"/>',
        f'<text x="0" y="{top + 14}" fill="{_INK}">{escape(each.title)}</text>',
        f'<text x="0" y="{top + 29}" fill="{_FAINT}">{escape(_told(each))}</text>',
        f'<polyline points="{line}" fill="none" stroke="{COLOURS["half-open"]}" stroke-width="1.8"/>',
        f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y(threshold):.1f}" y2="{y(threshold):.1f}" stroke="{_FAINT}" '
        'stroke-dasharray="4 3"/>',
    ]
    for start, fires, end in episodes(one, threshold, hold):
        for left, right, kind in ((start, fires, "waiting"), (fires, end, "failed")):
            left, right = max(left, -5.0), min(right, _LAST)
            if right > left:
                parts.append(
                    f'<rect x="{_x(left):.1f}" y="{bottom + 3}" width="{_x(right) - _x(left):.1f}" height="10" '
                    f'fill="{COLOURS[kind]}"><title>{"pending" if kind == "waiting" else "firing"}</title></rect>'
                )
    x = _x(_DEADLINE)
    if each.wanted:
        parts.append(f'<path d="M{x:.1f} {top - 2}V{bottom + 15}" stroke="{_INK}" stroke-width="1.4"/>')
        parts.append(f'<text x="{x + 4:.1f}" y="{top - 3}" fill="{_FAINT}">by 12 min</text>')
    return parts
