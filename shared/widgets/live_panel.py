"""A simulation that runs live under its reader's hands: the thread that steps it, its controls and its chart.

    panel = LivePanel(simulation, {"rate": FloatSlider(...)}, chart, name="17.2.1")

The simulation is stepped by the same amount on every tick, whatever the wall clock does, so that what it shows
depends only on its seed and on which control had which value at which simulated instant. At most one panel of a name
is alive: a new one closes the one before.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Protocol

import ipywidgets

from shared.widgets.live_chart import Frame, LiveChart
from shared.widgets.style import Picture

__all__ = ["LivePanel", "Simulation"]

TICK = 0.1
"""Wall seconds between two frames."""
UNWATCHED_AFTER = 20.0
"""The simulation rests when no view has said for so many wall seconds that it is on a screen; they do every 5 s."""

_log = logging.getLogger(__name__)
_alive: dict[str, LivePanel] = {}


class Simulation(Protocol):
    """What a panel runs. One thread at a time calls it."""

    def set(self, control: str, value: float) -> None:
        """A reader moved a control: from the current simulated instant on it has this value."""

    def step(self, dt: float) -> None:
        """Advance by `dt` simulated seconds."""

    def frame(self) -> Frame:
        """What happened since the last frame."""


class LivePanel:
    """Shows `simulation` on `chart`, with `controls` (their names are the simulation's) and buttons.

    `presets` maps a button's label to the values that it gives to controls. `speed` is simulated seconds per wall
    second. `still` draws the figure for readers without a kernel. Displaying the panel is enough; `close()`, the
    Close button, a new panel of the same `name` or the end of the kernel stop its thread.
    """

    def __init__(
        self,
        simulation: Simulation,
        controls: Mapping[str, ipywidgets.ValueWidget],
        chart: LiveChart,
        *,
        name: str,
        presets: Mapping[str, Mapping[str, float]] | None = None,
        speed: float = 5.0,
        speeds: Sequence[float] = (1.0, 5.0, 20.0),
        still: Callable[[], Picture] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.simulation, self.controls, self.chart = simulation, dict(controls), chart
        self._still, self._clock, self._name = still, clock, name
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._play = ipywidgets.ToggleButton(value=True, description="Playing", icon="pause", tooltip="Pause or play")
        self._speed = ipywidgets.Dropdown(
            options=[(f"{each:g}× real time", each) for each in speeds], value=speed, layout={"width": "130px"}
        )
        self._speed.tooltip = "How fast simulated time runs"
        self._box = ipywidgets.VBox([*self._rows(presets or {}), chart], layout={"max_width": "1100px"})
        self._wire()
        self._thread = threading.Thread(target=self._run, name=f"live-panel {name}", daemon=True)
        if (before := _alive.pop(name, None)) is not None:
            before.close()
        _alive[name] = self
        self.chart.push(simulation.frame())
        self._thread.start()

    def tick(self) -> None:
        """One step and one frame, as the thread does it."""
        with self._lock:
            self.simulation.step(TICK * self._speed.value)
            self.chart.push(self.simulation.frame())

    @property
    def running(self) -> bool:
        """Whether the panel's thread is alive (it is while paused, too)."""
        return self._thread.is_alive()

    def pause(self) -> None:
        """Stop simulated time; the controls still take values."""
        self._play.value = False

    def play(self) -> None:
        """Let simulated time go on."""
        self._play.value = True

    def close(self) -> None:
        """Stop the thread and take the panel off the page. Closing twice is fine."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        if _alive.get(self._name) is self:
            del _alive[self._name]
        self._leave("Closed. Run the cell again to play.")

    def _run(self) -> None:
        due = self._clock()
        while not self._stop.wait(max(0.0, due - self._clock())):
            due = max(due + TICK, self._clock())
            if self._play.value and self._clock() - self.chart.watched_at < UNWATCHED_AFTER:
                try:
                    self.tick()
                except Exception as error:
                    _log.exception("the simulation of %s failed", self._name)
                    self._stop.set()
                    self._leave(f"The simulation stopped: {error!r}. Run the cell again to start anew.")

    def _rows(self, presets: Mapping[str, Mapping[str, float]]) -> list[ipywidgets.Widget]:
        buttons = []
        for label, values in presets.items():
            button = ipywidgets.Button(description=label, layout={"width": "auto"})
            button.on_click(lambda _, values=values: self._apply(values))
            buttons.append(button)
        close = ipywidgets.Button(
            description="Close", icon="times", layout={"width": "90px"}, tooltip="Stop and remove this panel"
        )
        close.on_click(lambda _: self.close())
        self._play.layout.width = "110px"
        wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        return [
            ipywidgets.Box(list(self.controls.values()), layout=wrap),
            ipywidgets.Box(
                [*buttons, ipywidgets.Box(layout={"flex": "1 1 auto"}), self._play, self._speed, close], layout=wrap
            ),
        ]

    def _wire(self) -> None:
        for name, control in self.controls.items():
            self.simulation.set(name, control.value)
            control.observe(lambda change, name=name: self._set(name, change["new"]), "value")
        self._play.observe(self._relabel, "value")

    def _relabel(self, change: dict[str, Any]) -> None:
        self._play.description, self._play.icon = ("Playing", "pause") if change["new"] else ("Paused", "play")

    def _set(self, name: str, value: float) -> None:
        with self._lock:
            self.simulation.set(name, value)

    def _apply(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.controls[name].value = value

    def _leave(self, words: str) -> None:
        for widget in self._box.children:
            widget.close()
        self._box.children = [ipywidgets.HTML(f"<em>{escape(words)}</em>")]

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle = dict(self._box._repr_mimebundle_(**kwargs) or {})
        if self._still is not None:
            still = self._still()
            bundle |= {"image/svg+xml": still.svg, "text/plain": still.alt}
        return bundle
