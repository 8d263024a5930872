"""Exercise 17.2.1's pictures: a circuit breaker before a backend that the reader can break, live and as figures.

Every picture runs a breaker in simulated time, so that a seed and a history of the dials give the same picture each
time.
"""

from __future__ import annotations

import functools

import ipywidgets

from shared.resilience.contracts import BreakerConfig
from shared.widgets.breaker_figures import breaker_storyboard, compare_with_reference, incident_figure
from shared.widgets.breaker_simulation import (
    FAILING,
    HEALTHY,
    OUTCOMES,
    P99_SECONDS,
    PLAY_CONFIG,
    BreakerSimulation,
    replay,
)
from shared.widgets.live_chart import (
    Cells,
    Columns,
    Gauge,
    Gauges,
    Kind,
    Lanes,
    Line,
    Lines,
    LiveChart,
    Mark,
    Row,
    States,
)
from shared.widgets.live_panel import LivePanel

__all__ = ["breaker_playground", "breaker_storyboard", "compare_with_reference", "incident_figure", "replay"]

_WARM_UP = 60.0  # the reader joins a service that has run for a while


def breaker_playground(seed: int = 1) -> LivePanel:
    """The live panel: dials for the backend, the state machine, the window, the traffic. Close it when done."""
    dial = functools.partial(
        ipywidgets.FloatSlider,
        style={"description_width": "95px"},
        layout={"width": "auto", "flex": "1 1 250px", "max_width": "360px"},
    )
    controls = {
        "latency": dial(
            value=HEALTHY["latency"], min=0.1, max=5.0, step=0.1, description="Latency (s)", readout_format=".1f"
        ),
        "errors": dial(
            value=HEALTHY["errors"], min=0.0, max=1.0, step=0.01, description="Error rate", readout_format=".0%"
        ),
        "rate": dial(value=5.0, min=0.0, max=15.0, step=0.5, description="Arrivals (1/s)", readout_format=".1f"),
    }
    simulation = BreakerSimulation(seed=seed)
    simulation.step(_WARM_UP)
    return LivePanel(
        simulation,
        controls,
        LiveChart(_rows(PLAY_CONFIG), "A circuit breaker between callers and a backend, live."),
        name="17.2.1 breaker",
        presets={"Break it": FAILING, "Heal it": HEALTHY},
        speed=10.0,
        speeds=(1.0, 3.0, 10.0),
        still=breaker_storyboard,
    )


def _rows(config: BreakerConfig) -> list[Row]:
    return [
        Row(
            226,
            [
                States("states", "The breaker", _NODES, _EDGES, weight=1.0),
                Cells(
                    "window",
                    f"Its window: the last {config.window_size} calls",
                    config.window_size,
                    _KINDS,
                    weight=1.25,
                    column="right",
                    share=0.8,
                ),
                Gauges("rates", "", _gauges(config), weight=1.25, column="right"),
            ],
        ),
        Row(
            150,
            [
                Columns(
                    "calls",
                    "Calls per second",
                    "/s",
                    list(OUTCOMES.values()),
                    least_top=8.0,
                )
            ],
        ),
        Row(54, [Lanes("timeline", "State", ["breaker"])]),
        Row(
            118,
            [
                Lines(
                    "latency",
                    f"p99 of answered calls, last {P99_SECONDS:.0f} s",
                    "s",
                    [Line("p99", "ink")],
                    marks=[Mark(config.slow_call_threshold, f"slow: over {config.slow_call_threshold:g} s")],
                    least_top=4.0,
                    axis=True,
                )
            ],
        ),
    ]


def _gauges(config: BreakerConfig) -> list[Gauge]:
    return [
        Gauge("failed", "failed", "failed", config.error_rate, f"opens at {config.error_rate:.0%}", "%", scale=100),
        Gauge("slow", "slow", "slow", config.slow_call_rate, f"opens at {config.slow_call_rate:.0%}", "%", scale=100),
    ]


_NODES = [
    {"id": "closed", "label": "CLOSED", "x": 0.0, "y": 0.0},
    {"id": "open", "label": "OPEN", "x": 1.0, "y": 0.0},
    {"id": "half-open", "label": "HALF-OPEN", "x": 0.5, "y": 1.0},
]
_EDGES = [
    {
        "from": "closed",
        "to": "open",
        "label": "too many failed\nor too many slow",
        "bend": 0,
        "dx": 0,
        "dy": -22,
        "align": "center",
    },
    {"from": "open", "to": "half-open", "label": "wait over", "bend": -1, "dx": 12, "dy": 8, "align": "left"},
    {"from": "half-open", "to": "open", "label": "a bad probe", "bend": -1, "dx": -8, "dy": -8, "align": "right"},
    {"from": "half-open", "to": "closed", "label": "all probes well", "bend": 0, "dx": -12, "dy": 10, "align": "right"},
]
_KINDS = {
    "ok": Kind("ok", ["accepted"]),
    "slow": Kind("slow", ["slow"], "dash"),
    "failed": Kind("failed", ["failed"], "cross"),
    "slow failure": Kind("both", ["failed", "slow"], "cross"),
}
