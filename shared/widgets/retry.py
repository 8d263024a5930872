"""Exercise 17.2.2's pictures: a hundred clients and the server that they lose, live and as figures.

Every picture runs the reference retry in simulated time, so that a seed and a history of the dials give the same
picture each time.
"""

from __future__ import annotations

import ipywidgets

from shared.resilience.retry import JITTERS
from shared.widgets.live_chart import Columns, Lanes, Line, Lines, LiveChart, Mark, Row
from shared.widgets.live_panel import LivePanel
from shared.widgets.retry_figures import (
    compare_with_reference,
    counterexample,
    herd_figure,
    herd_table,
    incident_figure,
)
from shared.widgets.retry_simulation import BIN, CLIENTS, SURVIVES, HerdSimulation, outage

__all__ = [
    "compare_with_reference",
    "counterexample",
    "herd_figure",
    "herd_playground",
    "herd_table",
    "incident_figure",
    "outage",
]

_SPAN = 24.0  # a label every 4 s


def herd_playground(seed: int = 1) -> LivePanel:
    """The live panel: pull the server's plug, choose a jitter, and watch the clients come back. Close it when done."""
    controls = {
        "jitter": ipywidgets.Dropdown(
            options=[(name, number) for number, name in enumerate(JITTERS)],
            value=list(JITTERS).index("none"),
            description="Jitter",
            layout={"width": "220px"},
        ),
        "up": ipywidgets.ToggleButton(
            value=True,
            description="Server has power",
            icon="plug",
            layout={"width": "170px"},
            tooltip="Plug in or pull the plug",
        ),
    }
    simulation = HerdSimulation("none", seed=seed)
    simulation.step(_SPAN / 4)
    return LivePanel(
        simulation,
        controls,
        LiveChart(_rows(), f"{CLIENTS} clients and the server that they lose, live."),
        name="17.2.2 herd",
        presets={"Pull the plug": {"up": False}, "Plug it in": {"up": True}},
        speed=1.0,
        speeds=(1.0, 2.0, 5.0),
        still=herd_figure,
    )


def _rows() -> list[Row]:
    return [
        Row(
            190,
            [
                Columns(
                    "connects",
                    f"Connects per {1000 * BIN:.0f} ms",
                    "",
                    [Line("accepted", "accepted"), Line("refused", "failed")],
                    marks=[Mark(SURVIVES, f"falls over at more than {SURVIVES}")],
                    span=_SPAN,
                    step=BIN,
                    least_top=1.1 * CLIENTS,
                )
            ],
        ),
        Row(54, [Lanes("server", "Server", ["server"], span=_SPAN)]),
        Row(
            110,
            [
                Lines(
                    "clients",
                    "Clients connected",
                    "",
                    [Line("clients", "ink")],
                    span=_SPAN,
                    step=BIN,
                    least_top=1.1 * CLIENTS,
                    axis=True,
                )
            ],
        ),
    ]
