"""Exercise 17.1.1's pictures: a worker pool under traffic and the five answers that it gives, live and as figures.

Every picture runs in simulated time, so that a seed and a history of the dials give the same picture each time.
"""

from __future__ import annotations

import functools

import ipywidgets

from shared.widgets.live_chart import Columns, Line, Lines, LiveChart, Row
from shared.widgets.live_panel import LivePanel
from shared.widgets.worker_pool_figures import compare_with_reference, incident_figure, worker_pool_storyboard
from shared.widgets.worker_pool_simulation import CALM, OUTCOMES, QUEUE_SIZE, SLOW, TRIPLE, PoolSimulation

__all__ = ["compare_with_reference", "incident_figure", "worker_pool_playground", "worker_pool_storyboard"]

_WARM_UP = 60.0  # the reader joins a pool that has run for a while


def worker_pool_playground(seed: int = 1) -> LivePanel:
    """The live panel: traffic, task time, errors and workers, and the five answers in words. Close it when done."""
    dial = functools.partial(
        ipywidgets.FloatSlider,
        style={"description_width": "110px"},
        layout={"width": "auto", "flex": "1 1 260px", "max_width": "360px"},
    )
    controls = {
        "rate": dial(value=CALM["rate"], min=0.0, max=120.0, step=1.0, description="Tasks (1/s)", readout_format=".0f"),
        "task_time": dial(
            value=CALM["task_time"], min=0.02, max=2.0, step=0.02, description="A task takes (s)", readout_format=".2f"
        ),
        "workers": dial(value=8.0, min=1.0, max=24.0, step=1.0, description="Workers", readout_format=".0f"),
        "errors": dial(
            value=CALM["errors"], min=0.0, max=0.5, step=0.01, description="Tasks that fail", readout_format=".0%"
        ),
    }
    simulation = PoolSimulation(seed=seed)
    simulation.step(_WARM_UP)
    return LivePanel(
        simulation,
        controls,
        LiveChart(_rows(), "A worker pool: what becomes of its tasks, who waits and runs, and p99, live."),
        name="17.1.1 worker pool",
        presets={"Traffic ×3": TRIPLE, "Slow tasks": SLOW, "Errors": {"errors": 0.2}, "Calm": CALM},
        speed=10.0,
        speeds=(1.0, 5.0, 10.0, 30.0),
        still=worker_pool_storyboard,
    )


def _rows() -> list[Row]:
    span = 180.0
    gauges = [Line(f"waiting, at most {QUEUE_SIZE}", "waiting"), Line("active workers", "accepted")]
    return [
        Row(140, [Columns("tasks", "Tasks per second", "/s", list(OUTCOMES.values()), span=span, least_top=40.0)]),
        Row(130, [Lines("pool", "Waiting tasks, active workers", "", gauges, span=span, least_top=QUEUE_SIZE + 2.0)]),
        Row(
            130,
            [
                Lines(
                    "p99",
                    "Run time",
                    "s",
                    [Line("p99 of the last 60 s", "slow"), Line("mean since the start", "note")],
                    span=span,
                    least_top=0.5,
                    axis=True,
                )
            ],
        ),
    ]
