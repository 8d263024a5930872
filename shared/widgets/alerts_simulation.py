"""One alert replayed over 30 quiet days and over incidents: what the playground of exercise 17.1.4 counts.

Invariant: the curves are evaluated once per window by the course's PromQL evaluator; threshold and `for` then cost one
pass over an array. A page here is an alert of Prometheus: the condition holds at every evaluation for at least `for`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from shared.observability.promql import evaluate
from shared.observability.recording import load

__all__ = ["SIGNALS", "WINDOWS", "Curve", "Detection", "Outcome", "Signal", "curve", "episodes", "replay"]

WINDOWS = (2, 5, 10)
"""Minutes over which a rate can be taken."""


@dataclass(frozen=True)
class Signal:
    """A ratio of requests: its PromQL with {window} to fill in, its SLO, the incidents that must page, and those that
    must not."""

    words: str
    expr: str
    slo: float
    must: tuple[str, ...]
    must_not: tuple[str, ...]


SIGNALS = {
    "errors": Signal(
        "of the requests fail",
        "sum(rate(requests_failed_total[{window}m])) / sum(rate(requests_total[{window}m]))",
        0.05,
        ("errors-20",),
        ("errors-2",),
    ),
    "latency": Signal(
        "of the requests take longer than 1 s",
        '1 - sum(rate(request_duration_seconds_bucket{{le="1.0"}}[{window}m]))'
        " / sum(rate(request_duration_seconds_count[{window}m]))",
        0.01,
        ("slow-requests", "slow-stage"),
        ("near-slo",),
    ),
}


@dataclass(frozen=True)
class Curve:
    """A signal over a recording: minutes from the onset or the start of the month, and the ratio, NaN for none."""

    minutes: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Detection:
    """What the alert did in one incident: when it fired, in minutes after the onset, or None; and whether it should."""

    name: str
    title: str
    wanted: bool
    fired: float | None


@dataclass(frozen=True)
class Outcome:
    """The alert over the month and over the incidents. `pages` are (start, end) of firing, in minutes of the month."""

    pages: tuple[tuple[float, float], ...]
    detections: tuple[Detection, ...]

    @property
    def missed(self) -> tuple[Detection, ...]:
        """Incidents that should page and did not in 12 minutes."""
        return tuple(each for each in self.detections if each.wanted and (each.fired is None or each.fired > 12))

    @property
    def false_alarms(self) -> tuple[Detection, ...]:
        return tuple(each for each in self.detections if not each.wanted and each.fired is not None)


@functools.lru_cache(maxsize=64)
def curve(signal: str, name: str, window: int) -> Curve:
    """The signal over the recording `name`, at every scrape, with rates over `window` minutes."""
    recording = load(name)
    found = evaluate(SIGNALS[signal].expr.format(window=window), recording, recording.times)
    values = found[0][1] if found else np.full(len(recording.times), np.nan)
    zero = recording.times[0] if recording.onset is None else recording.onset
    return Curve((recording.times - zero) / 60, values)


def episodes(one: Curve, threshold: float, hold: float) -> list[tuple[float, float, float]]:
    """(pending, firing, end) in minutes of every time that the curve stays above `threshold` for `hold` minutes."""
    above = np.concatenate([[False], one.values > threshold, [False]])
    edges = np.flatnonzero(above[1:] != above[:-1])
    starts, ends = edges[::2], edges[1::2]
    fires = np.searchsorted(one.minutes, one.minutes[starts] + hold - 1e-9)
    last = len(one.minutes) - 1
    return [
        (float(one.minutes[start]), float(one.minutes[fire]), float(one.minutes[min(end, last)]))
        for start, fire, end in zip(starts, fires, ends, strict=True)
        if fire < end
    ]


def replay(signal: str, window: int, threshold: float, hold: float) -> Outcome:
    """The alert `signal > threshold` with `for: hold` minutes over everything that is recorded."""
    chosen = SIGNALS[signal]
    pages = [(fire, end) for _, fire, end in episodes(curve(signal, "quiet-month", window), threshold, hold)]
    detections = []
    for name in (*chosen.must, *chosen.must_not):
        fired = [fire for _, fire, _ in episodes(curve(signal, name, window), threshold, hold) if fire >= 0]
        detections.append(Detection(name, load(name).title, name in chosen.must, fired[0] if fired else None))
    return Outcome(tuple(pages), tuple(detections))
