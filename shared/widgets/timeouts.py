"""Exercise 17.2.5's pictures: a request through four levels with a timeout each, live and as figures."""

from __future__ import annotations

import functools

import ipywidgets

from shared.widgets.live_chart import Columns, Lanes, Line, LiveChart, Row
from shared.widgets.live_panel import LivePanel
from shared.widgets.timeouts_figures import compare_with_reference, incident_figure, tree_storyboard
from shared.widgets.timeouts_simulation import LEVELS, SEED_TREE, UPSIDE_DOWN, TreeSimulation

__all__ = ["compare_with_reference", "incident_figure", "tree_playground", "tree_storyboard"]

_SPAN = 24.0


def tree_playground(seed: int = 1) -> LivePanel:
    """The live panel: four timeouts, how long the query takes, and whether the deadline is handed down."""
    dial = functools.partial(
        ipywidgets.FloatSlider,
        min=0.2,
        max=4.0,
        step=0.1,
        readout_format=".1f",
        style={"description_width": "95px"},
        layout={"width": "auto", "flex": "1 1 250px", "max_width": "340px"},
    )
    controls: dict[str, ipywidgets.ValueWidget] = {
        level: dial(value=timeout, description=f"{level} (s)")
        for level, timeout in zip(LEVELS, UPSIDE_DOWN, strict=True)
    }
    controls["work"] = dial(value=1.6, description="query (s)")
    controls["handed_down"] = ipywidgets.Checkbox(
        value=False, indent=False, description="hand the deadline down", layout={"width": "auto", "flex": "1 1 250px"}
    )
    simulation = TreeSimulation(seed)
    simulation.step(_SPAN)
    return LivePanel(
        simulation,
        controls,
        LiveChart(
            [
                Row(190, [Lanes("levels", "Who works, and for whom", list(LEVELS), span=_SPAN, axis=True)]),
                Row(
                    130,
                    [
                        Columns(
                            "work",
                            "Work per second, all levels",
                            "s",
                            [Line("waited for", "accepted"), Line("orphaned", "failed")],
                            span=_SPAN,
                            least_top=3.0,
                        )
                    ],
                ),
            ],
            "Four levels of a request over time; work that nobody waits for is red.",
        ),
        name="17.2.5 tree",
        presets={
            "Upside down": dict(zip(LEVELS, UPSIDE_DOWN, strict=True)),
            "Nested": dict(zip(LEVELS, SEED_TREE, strict=True)),
        },
        speed=1.0,
        speeds=(0.5, 1.0, 3.0),
        still=tree_storyboard,
    )
