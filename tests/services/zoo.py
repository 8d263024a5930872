"""A small generated recording with everything that makes PromQL hard: counter resets, gaps, series that come and go,
infinities, histograms with holes, awkward label values. The same bytes every time."""

from __future__ import annotations

import numpy as np

from shared.observability.recording import Recording, Series

START = 1_735_689_600  # 2025-01-01 00:00 UTC
INTERVAL = 30
SAMPLES = 361


def zoo() -> Recording:
    """Three hours at 30 s."""
    rng = np.random.default_rng(17)
    times = START + INTERVAL * np.arange(SAMPLES, dtype=np.float64)
    series: list[Series] = []

    def add(name: str, values: np.ndarray, **labels: str) -> None:
        series.append(Series({"__name__": name, **labels}, values))

    def holes(values: np.ndarray, *ranges: tuple[int, int]) -> np.ndarray:
        values = values.astype(np.float64)
        for first, end in ranges:
            values[first:end] = np.nan
        return values

    def counter(rate: float, *resets: int, start: float = 0.0) -> np.ndarray:
        steps = rng.poisson(rate, SAMPLES).astype(np.float64)
        running = start + np.cumsum(steps)
        for reset in resets:
            running[reset:] -= running[reset - 1]
        return np.maximum(running, 0)

    add("events_total", counter(40, start=9e6), job="web", instance="a:1", code="200")
    add("events_total", counter(3, 100, 200), job="web", instance="a:1", code="500")
    add("events_total", holes(counter(25, 150), (60, 66), (90, 112)), job="web", instance="b:1", code="200")
    add("events_total", holes(counter(1, 151), (0, 40), (220, SAMPLES)), job="web", instance="b:1", code="500")
    add("events_total", holes(counter(0.02), (0, 3)), job="batch", instance="c:1", code="200")
    add("events_total", np.zeros(SAMPLES), job="idle", instance="d:1", code="200")
    add("failures_total", counter(2, 100), job="web", instance="a:1", code="500", type="db")
    add("failures_total", counter(1), job="web", instance="a:1", code="500", type="timeout")
    add("failures_total", holes(counter(1), (100, 180)), job="web", instance="b:1", code="500", type="db")
    wave = np.sin(np.arange(SAMPLES) / 20)
    add("temperature", np.round(20 + 5 * wave + rng.normal(0, 1, SAMPLES), 3), room="hall", floor="0")
    add("temperature", np.round(-4 + 3 * wave + rng.normal(0, 2, SAMPLES), 3), room="cellar", floor="-1")
    add("temperature", holes(np.full(SAMPLES, 21.5), (50, 58), (300, 330)), room="attic", floor="2")
    add("temperature", holes(np.linspace(1e9, 1e9 + 360, SAMPLES), (10, 12)), room="kiln", floor="0")
    add("humidity", np.round(0.5 + 0.2 * wave, 4), room="hall", floor="0")
    add("humidity", holes(np.round(0.8 - 0.1 * wave, 4), (120, 240)), room="cellar", floor="-1")
    add("odd", np.where(np.arange(SAMPLES) % 50 == 0, np.inf, 1.0), kind="inf")
    add("odd", np.where(np.arange(SAMPLES) % 70 == 0, -np.inf, -1.0), kind="-inf")
    add("odd", holes(np.arange(SAMPLES) % 7 - 3.0, (7, 9)), kind="steps")
    add("odd", np.repeat(np.arange(19), 19).astype(np.float64), kind='quote " back \\ ümlaut')
    add("info", np.ones(SAMPLES), instance="a:1", version="1.2", zone="north")
    add("info", holes(np.ones(SAMPLES), (200, SAMPLES)), instance="b:1", version="1.2", zone="south")
    add("info", holes(np.ones(SAMPLES), (0, 215)), instance="b:1", version="1.3", zone="south")
    add("slots_used", np.round(3 + 3 * wave), pool="x")
    add("slots_used", np.round(2 - 2 * wave), pool="y")
    add("slots_max", np.full(SAMPLES, 6.0), pool="x")
    add("slots_max", np.full(SAMPLES, 0.0), pool="y")
    add("short", holes(np.full(SAMPLES, 3.0), (0, 180), (182, SAMPLES)), of="two")
    add("short", holes(np.full(SAMPLES, 5.0), (0, 181), (182, SAMPLES)), of="one")
    bounds = ("0.1", "0.25", "0.5", "1.0", "2.5", "+Inf")
    for instance, weights in (
        ("a:1", (5, 9, 6, 3, 1, 0.2)),
        ("b:1", (0.5, 2, 4, 9, 5, 1)),
        ("c:1", (0, 0, 0, 0.3, 0, 0)),
    ):
        resets = (130,) if instance == "b:1" else ()
        running = np.zeros(SAMPLES)
        for bound, weight in zip(bounds, weights, strict=True):
            running = running + counter(weight, *resets)
            values = holes(running, (250, 275)) if (instance, bound) == ("b:1", "0.5") else running
            add("latency_seconds_bucket", values.copy(), instance=instance, le=bound)
        add("latency_seconds_count", running.copy(), instance=instance)
    add("nobound_bucket", counter(3), le="1")
    add("nobound_bucket", counter(2), le="2")
    return Recording("zoo", "generated", float(INTERVAL), times, None, None, tuple(series))
