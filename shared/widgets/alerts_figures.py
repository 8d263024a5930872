"""The still figures of exercise 17.1.4: the month before the incident, what `for` trades, and a learner's rules beside
the reference's.

Each is drawn from the course's recordings, so the same bytes come out of every run.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.observability.alert_rules import RULES
from shared.observability.alerting import Alert, RulesError, fire, parse_rules
from shared.observability.recording import load
from shared.palette import COLOURS, PAPER
from shared.widgets.alerts_simulation import SIGNALS, curve, episodes, replay
from shared.widgets.style import Picture, course_style, picture_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["alerts_storyboard", "compare_with_reference", "incident_figure"]

_FAINT, _INK = PAPER["light"]["faint"], PAPER["light"]["ink"]
_SMALL: dict[str, Any] = {"fontsize": 8.5, "color": _FAINT}
_DASHED = {"linewidth": 1.2, "linestyle": (0, (4, 3))}
_INCIDENTS = {
    "slow-requests": "5 % take 3.5 s",
    "errors-20": "20 % fail",
    "errors-2": "2 % fail",
    "traffic-x4": "traffic ×4",
    "stage-saturated": "a full stage",
}
_SEVERITIES = {"critical": "failed", "warning": "slow"}
_OVER = 45.0  # minutes that an incident lasts


@functools.cache
def incident_figure() -> Picture:
    """The month of pages for blips, and the night that mattered: pending and firing of two alerts."""
    import matplotlib.pyplot as plt

    nights = replay("errors", 5, 0.05, 5.0).pages
    with course_style():
        figure, (month, ratio, bars) = plt.subplots(3, 1, figsize=(8.6, 4.7), height_ratios=[0.45, 1.4, 0.7])
        month.vlines([start / 1440 + 1 for start, _ in nights], 0, 1, color=COLOURS["failed"], linewidth=1.6)
        month.set(xlim=(0.7, 31.3), ylim=(0, 1), yticks=[], xlabel="day of the month")
        month.set_title(f"for: 5m – {len(nights)} pages in 30 quiet days, each for a blip of at most two minutes")
        month.grid(False)
        shown = curve("errors", "errors-20", 5)
        inside = (shown.minutes >= -10) & (shown.minutes <= 65)
        ratio.plot(shown.minutes[inside], shown.values[inside], color=COLOURS["half-open"])
        ratio.axhline(0.05, color=_FAINT, **_DASHED)
        ratio.text(64.5, 0.055, "5 %: a page", ha="right", va="bottom", **_SMALL)
        ratio.set(xlim=(-10, 65), ylim=(0, 0.25), ylabel="errors, 5 min", yticks=[0, 0.1, 0.2], xticklabels=[])
        ratio.set_yticks([0, 0.1, 0.2], ["0 %", "10 %", "20 %"])
        ratio.set_title("The night that mattered: 20 % of the requests fail from 03:00 to 03:45")
        for row, (name, hold) in enumerate((("for: 5m", 5.0), ("for: 8m", 8.0))):
            for start, fires, end in episodes(shown, 0.05, hold):
                bars.barh(row, fires - start, left=start, height=0.55, color=COLOURS["waiting"])
                bars.barh(row, end - fires, left=fires, height=0.55, color=COLOURS["failed"])
                bars.text(fires + 0.5, row, f"{fires:g} min", va="center", fontsize=8.5, color="#141414")
            bars.text(-9.5, row, name, va="center", fontsize=9)
        for axes in (ratio, bars):
            axes.axvspan(0, _OVER, color=COLOURS["note"], alpha=0.14, linewidth=0, zorder=0)
        for label, colour in (("pending", "waiting"), ("firing", "failed")):
            bars.barh(-9, 0, color=COLOURS[colour], label=label)
        bars.set(xlim=(-10, 65), ylim=(1.6, -0.6), yticks=[], xlabel="minutes after 03:00")
        bars.grid(False)
        figure.legend(loc="outside lower right", ncols=2, fontsize=8.5, handlelength=1.0)
        return picture_of(
            figure,
            f"Above: with a window of 5 min and for: 5m the alert pages {len(nights)} times in 30 quiet days. Below: "
            "in the incident the ratio of errors rises to 20 %; the alert is pending from 1.5 min on and fires after "
            "6.5 min with for: 5m, after 9.5 min with for: 8m, and is resolved four minutes after the end.",
        )


@functools.cache
def alerts_storyboard() -> Picture:
    """The playground's story: pages in the month and minutes to detect, for every `for` from 0 to 15 minutes."""
    import matplotlib.pyplot as plt

    holds = list(range(16))
    with course_style():
        figure, (pages, minutes) = plt.subplots(1, 2, figsize=(8.6, 3.3))
        for window, colour in ((2, "accepted"), (5, "half-open"), (10, "slow")):
            outcomes = [replay("errors", window, SIGNALS["errors"].slo, float(hold)) for hold in holds]
            label = f"rate over {window} min"
            pages.plot(holds, [len(one.pages) for one in outcomes], color=COLOURS[colour], label=label, marker=".")
            minutes.plot(holds, [one.detections[0].fired for one in outcomes], color=COLOURS[colour], marker=".")
        pages.set(title="Pages in 30 quiet days", xlabel="for (min)", ylim=(-3, None))
        pages.legend(fontsize=8.5)
        minutes.axhline(12, color=_FAINT, **_DASHED)
        minutes.text(0, 12.2, "at most 12 min", va="bottom", **_SMALL)
        minutes.set(title="Minutes until 20 % errors page", xlabel="for (min)", ylim=(0, 20))
        return picture_of(
            figure,
            "Pages in 30 quiet days and minutes to detect 20 % errors, against `for`. There are no pages once "
            "`for` is as long as the window and a blip of two minutes together; the time to detect grows with it, a "
            "minute per minute.",
        )


def compare_with_reference(rules: str) -> Picture:
    """Your alerts and the reference's over the five incidents: pending, firing, resolved.

    Raises RulesError with one sentence (and no longer traceback) where Prometheus would refuse the rules,
    NotImplementedError where there are none yet.
    """
    if not rules.strip():
        raise NotImplementedError("rules are still empty")
    try:
        yours, reference = ({name: _fired(text, name) for name in _INCIDENTS} for text in (rules, RULES))
    except RulesError as error:
        raise _Refused(str(error)) from None
    return _draw_comparison(reference, yours)


class _Refused(RulesError):
    """What is wrong with a learner's rules; a notebook shows this sentence alone."""

    def _render_traceback_(self) -> list[str]:
        return [f"Prometheus refuses these rules: {self}"]


def _fired(text: str, name: str) -> list[Alert]:
    recording = load(name)
    assert recording.onset is not None
    return [alert for alert in fire(parse_rules(text), recording, recording.interval) if alert.firing is not None]


def _draw_comparison(reference: dict[str, list[Alert]], yours: dict[str, list[Alert]]) -> Picture:
    import matplotlib.pyplot as plt

    words = _first_difference(reference, yours) or "The same signals and severities in all five incidents."
    with course_style():
        figure, panels = plt.subplots(1, 2, sharex=True, sharey=True, figsize=(8.6, 4.2))
        for axes, alerts, title in zip(panels, (reference, yours), ("The reference", "Yours"), strict=True):
            for row, name in enumerate(_INCIDENTS):
                _draw_incident(axes, row, name, alerts[name])
            axes.axvspan(0, _OVER, color=COLOURS["note"], alpha=0.14, linewidth=0, zorder=0)
            axes.set(title=title, xlabel="minutes after the onset", xlim=(-10, 75), ylim=(len(_INCIDENTS) - 0.4, -0.6))
            axes.set_yticks(range(len(_INCIDENTS)), _INCIDENTS.values())
            axes.grid(False)
        for label, colour in (("pending", "waiting"), ("critical fires", "failed"), ("warning fires", "slow")):
            panels[0].barh(-9, 0, color=COLOURS[colour], label=label)
        panels[0].barh(-9, 0, color=COLOURS["note"], label="another severity")
        figure.legend(loc="outside lower center", ncols=4, fontsize=8.5, handlelength=1.0)
        figure.suptitle(words, x=0.01, ha="left", fontsize=10.5, color=_INK)
        return picture_of(figure, words)


def _draw_incident(axes: Axes, row: int, name: str, alerts: Sequence[Alert]) -> None:
    recording = load(name)
    zero, last = recording.onset or 0.0, float(recording.times[-1])
    labelled = list(dict.fromkeys(_what(alert) for alert in alerts))
    told: set[str] = set()
    for alert in alerts:
        place = labelled.index(_what(alert))
        height = 0.8 / max(1, len(labelled))
        y = row - 0.4 + height * (place + 0.5)
        start, fires, end = (
            (moment - zero) / 60 for moment in (alert.pending, alert.firing or last, alert.resolved or last)
        )
        colour = COLOURS[_SEVERITIES.get(alert.labels.get("severity", ""), "note")]
        axes.barh(y, fires - start, left=start, height=height * 0.8, color=COLOURS["waiting"])
        axes.barh(y, end - fires, left=fires, height=height * 0.8, color=colour)
        if -10 < fires < 60 and _what(alert) not in told:
            told.add(_what(alert))
            said = alert.labels.get("signal", "no signal")
            axes.text(fires + 0.6, y, said[:20], va="center", fontsize=7.5, color="#141414", clip_on=True)


def _what(alert: Alert) -> str:
    return f"{alert.labels.get('severity', 'no severity')} {alert.labels.get('signal', 'no signal')}"


def _first_difference(reference: dict[str, list[Alert]], yours: dict[str, list[Alert]]) -> str | None:
    for name, words in _INCIDENTS.items():
        expected, observed = ({_what(alert)[:60] for alert in alerts[name]} for alerts in (reference, yours))
        if expected != observed:
            told = [", ".join(sorted(kinds)[:4]) or "nothing" for kinds in (expected, observed)]
            return f"First difference, {words}: {told[0]} by the reference, {told[1]} by yours."
    return None
