"""Exercise 17.1.2's pictures: a waterfall of any spans, and two requests on one pool, live and as figures."""

from __future__ import annotations

import ipywidgets

from shared.widgets.live_chart import Columns, Lanes, Line, LiveChart, Row
from shared.widgets.live_panel import LivePanel
from shared.widgets.tracing_figures import compare_with_reference, incident_figure, mistakes_storyboard, waterfall
from shared.widgets.tracing_simulation import KINDS, LANES, MISTAKES, ROUND, WORKERS, TracingSimulation

__all__ = ["compare_with_reference", "incident_figure", "mistakes_storyboard", "tracing_playground", "waterfall"]

_SPAN = 1.2 * ROUND


def tracing_playground() -> LivePanel:
    """The live panel: a waterfall, and a switch for each of three mistakes. Close it when done."""
    controls: dict[str, ipywidgets.ValueWidget] = {
        name: ipywidgets.Checkbox(value=False, indent=False, description=words, layout={"width": "220px"})
        for name, words in MISTAKES.items()
    }
    simulation = TracingSimulation()
    simulation.step(2 * ROUND)
    return LivePanel(
        simulation,
        controls,
        LiveChart(_rows(), "Two requests and a sweep on three workers, and the spans that they leave behind, live."),
        name="17.1.2 tracing",
        presets={"All is well": dict.fromkeys(MISTAKES, False), "All three": dict.fromkeys(MISTAKES, True)},
        speed=2.0,
        speeds=(1.0, 2.0, 5.0),
        still=mistakes_storyboard,
    )


def _rows() -> list[Row]:
    workers = [f"worker {number}" for number in range(1, WORKERS + 1)]
    return [
        Row(100, [Lanes("workers", "What ran", workers, span=_SPAN)]),
        Row(236, [Lanes("spans", "What the spans say", list(LANES), span=_SPAN, axis=True)]),
        Row(
            96,
            [
                Columns(
                    "tasks",
                    "Tasks that ended, by their span",
                    "/s",
                    [Line(words, colour) for words, colour in KINDS.values()],
                    span=_SPAN,
                    least_top=4.0,
                )
            ],
        ),
    ]
