"""Exercise 17.2.4's pictures: a recommender that the reader can kill, and what people get meanwhile, live and still.

Every picture runs the reference service in simulated time, so that a seed and a history of the dials give the same
picture each time.
"""

from __future__ import annotations

import ipywidgets

from shared.widgets.fallback_figures import compare_with_reference, incident_figure, outage_figure
from shared.widgets.fallback_simulation import BIN, ERRORS, GOALS, LEVELS, RATE, FallbackSimulation, restart_table
from shared.widgets.live_chart import Columns, Gauge, Gauges, LiveChart, Row
from shared.widgets.live_panel import LivePanel

__all__ = ["compare_with_reference", "fallback_playground", "incident_figure", "outage_figure", "restart_table"]

_SPAN = 600.0


def fallback_playground(seed: int = 1) -> LivePanel:
    """The live panel: kill the client and watch the shares per level. Close it when done."""
    wide = {
        "style": {"description_width": "110px"},
        "layout": {"width": "auto", "flex": "1 1 250px", "max_width": "360px"},
    }
    controls = {
        "up": ipywidgets.ToggleButton(
            value=True,
            description="Recommender is up",
            icon="plug",
            layout={"width": "180px"},
            tooltip="Kill or revive it",
        ),
        "errors": ipywidgets.FloatSlider(
            value=ERRORS, min=0.0, max=1.0, step=0.01, description="Error rate", readout_format=".0%", **wide
        ),
        "rate": ipywidgets.FloatSlider(
            value=RATE, min=1.0, max=40.0, step=1.0, description="Questions (1/s)", readout_format=".0f", **wide
        ),
    }
    return LivePanel(
        FallbackSimulation(seed=seed),
        controls,
        LiveChart(_rows(), "The shares of live, cached and static answers of a recommendation service, live."),
        name="17.2.4 fallback",
        presets={"Kill the client": {"up": False}, "Revive it": {"up": True, "errors": ERRORS}},
        speed=20.0,
        speeds=(5.0, 20.0, 60.0),
        still=outage_figure,
    )


def _rows() -> list[Row]:
    bars = [
        Gauge(level, level, line.colour, GOALS[level], f"a good day: {GOALS[level]:.0%}", "%", scale=100)
        for level, line in LEVELS.items()
    ]
    columns = Columns(
        "shares",
        "Answers per level, % of each 10 s",
        "%",
        list(LEVELS.values()),
        span=_SPAN,
        step=BIN,
        least_top=100.0,
        axis=True,
    )
    return [Row(150, [Gauges("bar", "The last minute", bars)]), Row(190, [columns])]
