"""Exercise 17.2.3's pictures: two tenants before one shared pool or two of their own, live and as figures.

Every picture runs the reference's own rules in simulated time, so that a seed and a history of the dials give the same
picture each time.
"""

from __future__ import annotations

import functools

import ipywidgets

from shared.widgets.bulkhead_figures import bulkhead_storyboard, compare_with_reference, incident_figure
from shared.widgets.bulkhead_simulation import (
    CALM,
    FLOOD,
    LIMITS,
    OUTCOMES,
    P99_SECONDS,
    SHARED,
    TIMEOUT,
    BulkheadSimulation,
)
from shared.widgets.live_chart import Columns, Line, Lines, LiveChart, Mark, Row
from shared.widgets.live_panel import LivePanel

__all__ = ["bulkhead_playground", "bulkhead_storyboard", "compare_with_reference", "incident_figure"]

_WARM_UP = 60.0  # the reader joins a service that has run for a while


def bulkhead_playground(seed: int = 1) -> LivePanel:
    """The live panel: one pool or two, and free's flood at the push of a button. Close it when done."""
    dial = functools.partial(
        ipywidgets.FloatSlider,
        style={"description_width": "110px"},
        layout={"width": "auto", "flex": "1 1 260px", "max_width": "360px"},
        readout_format=".1f",
    )
    controls = {
        "pools": ipywidgets.ToggleButtons(
            options=[("One shared pool", 1.0), ("Two pools", 2.0)],
            value=1.0,
            style={"button_width": "130px"},
            layout={"width": "100%"},  # a row of its own, which leaves length to the sliders
        ),
        "premium": dial(value=12.0, min=0.0, max=40.0, step=1.0, description="Premium (1/s)"),
        "free": dial(value=CALM["free"], min=0.0, max=60.0, step=1.0, description="Free (1/s)"),
        "latency": dial(value=CALM["latency"], min=0.1, max=5.0, step=0.1, description="Free takes (s)"),
    }
    simulation = BulkheadSimulation(seed=seed)
    simulation.step(_WARM_UP)
    return LivePanel(
        simulation,
        controls,
        LiveChart(_rows(), "Two tenants, premium and free, before one shared pool or two, live."),
        name="17.2.3 bulkhead",
        presets={"Flood of free": FLOOD, "Calm": CALM},
        speed=5.0,
        speeds=(1.0, 5.0, 10.0),
        still=bulkhead_storyboard,
    )


def _rows() -> list[Row]:
    outcomes, tenants = list(OUTCOMES.values()), [Line("premium", "half-open"), Line("free", "slow")]
    return [
        Row(
            150,
            [
                Columns("premium", "Premium: calls per second", "/s", outcomes, least_top=20.0),
                Columns("free", "Free: calls per second", "/s", outcomes, least_top=20.0),
            ],
        ),
        Row(
            120,
            [
                Lines(
                    "busy",
                    f"Places taken, of {SHARED.max_concurrent}",
                    "",
                    tenants,
                    marks=[Mark(LIMITS["free"].max_concurrent, "free's own places")],
                    least_top=float(SHARED.max_concurrent),
                )
            ],
        ),
        Row(
            130,
            [
                Lines(
                    "p99",
                    f"p99 until the answer or the timeout, last {P99_SECONDS:.0f} s",
                    "s",
                    tenants,
                    marks=[Mark(TIMEOUT, f"timeout: {TIMEOUT:g} s")],
                    least_top=2.5,
                    axis=True,
                )
            ],
        ),
    ]
