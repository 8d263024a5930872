"""A panel steps its simulation by equal steps, obeys its controls, and ends when told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import ipywidgets
import pytest

from shared.widgets import live_panel
from shared.widgets.live_chart import Columns, Frame, Line, LiveChart, Row
from shared.widgets.live_panel import LivePanel
from shared.widgets.style import Picture


class Recorder:
    """A simulation that remembers what was asked of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.heard: list[tuple[float, str, float]] = []
        self.stepped = threading.Event()
        self.broken = False

    def set(self, control: str, value: float) -> None:
        self.heard.append((self.now, control, value))

    def step(self, dt: float) -> None:
        if self.broken:
            raise ZeroDivisionError("no such day")
        self.now = round(self.now + dt, 9)
        self.stepped.set()

    def frame(self) -> Frame:
        return {"t": self.now, "words": "", "tone": "note", "news": "", "panes": {"calls": [[self.now, 1]]}}


Open = Callable[..., LivePanel]


@pytest.fixture
def open_panel() -> Iterator[Open]:
    panels = []

    def make(name: str = "test", *, asleep: bool = True, **options: object) -> LivePanel:
        chart = LiveChart([Row(100, [Columns("calls", "Calls", "/s", [Line("served", "accepted")])])], "Calls.")
        if asleep:  # nobody looks, so the thread waits and the test ticks
            chart.watched_at = float("-inf")
        controls = {"rate": ipywidgets.FloatSlider(value=5.0, max=10.0)}
        panels.append(LivePanel(Recorder(), controls, chart, name=name, **options))
        return panels[-1]

    yield make
    for panel in panels:
        panel.close()


def threads(name: str = "test") -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"live-panel {name}"]


def test_a_tick_steps_a_tenth_of_a_second_times_the_speed(open_panel: Open) -> None:
    panel = open_panel(speed=5.0)
    panel.tick()
    panel.tick()
    assert panel.simulation.now == 1.0
    assert panel.chart.replay()["panes"]["calls"] == [[0.0, 1], [0.5, 1], [1.0, 1]]


def test_controls_reach_the_simulation_with_the_instant_of_the_change(open_panel: Open) -> None:
    panel = open_panel(presets={"Flood": {"rate": 10.0}})
    panel.tick()
    panel.controls["rate"].value = 7.0
    panel.tick()
    next(button for button in buttons(panel) if button.description == "Flood").click()
    assert panel.simulation.heard == [(0.0, "rate", 5.0), (0.5, "rate", 7.0), (1.0, "rate", 10.0)]
    assert panel.controls["rate"].value == 10.0


def test_the_thread_runs_while_somebody_watches(open_panel: Open) -> None:
    panel = open_panel(asleep=False)
    assert panel.running
    assert panel.simulation.stepped.wait(30)


def test_a_paused_panel_stands_still_and_goes_on_when_told(open_panel: Open) -> None:
    panel = open_panel()
    panel.pause()
    panel.chart.watched_at = float("inf")
    assert not panel.simulation.stepped.wait(3 * live_panel.TICK)
    panel.play()
    assert panel.simulation.stepped.wait(30)


def test_an_unwatched_panel_stands_still(open_panel: Open) -> None:
    panel = open_panel()
    assert not panel.simulation.stepped.wait(3 * live_panel.TICK)
    assert panel.running


def test_close_stops_the_thread_and_may_be_repeated(open_panel: Open) -> None:
    panel = open_panel()
    assert len(threads()) == 1
    panel.close()
    panel.close()
    assert not panel.running
    assert threads() == []


def test_the_close_button_closes(open_panel: Open) -> None:
    panel = open_panel()
    next(button for button in buttons(panel) if button.description == "Close").click()
    assert threads() == []


def test_a_new_panel_closes_the_one_before_it_of_the_same_name(open_panel: Open) -> None:
    first, other, second = open_panel(), open_panel("other"), open_panel()
    assert [first.running, other.running, second.running] == [False, True, True]


def test_the_thread_does_not_keep_a_kernel_alive(open_panel: Open) -> None:
    open_panel()
    assert threads()[0].daemon


def test_a_simulation_that_raises_ends_the_panel_with_a_sentence(open_panel: Open) -> None:
    panel = open_panel()
    panel.simulation.broken = True
    thread = threads()[0]
    panel.chart.watched_at = float("inf")
    thread.join(30)
    assert not panel.running
    (left,) = panel._box.children
    assert "The simulation stopped: ZeroDivisionError" in left.value
    panel.close()


def test_readers_without_a_kernel_get_the_still_figure(open_panel: Open) -> None:
    panel = open_panel(still=lambda: Picture("<svg/>", "A flood, in words."))
    bundle = panel._repr_mimebundle_()
    assert bundle["image/svg+xml"] == "<svg/>"
    assert bundle["text/plain"] == "A flood, in words."
    assert "application/vnd.jupyter.widget-view+json" in bundle


def buttons(panel: LivePanel) -> list[ipywidgets.Button]:
    found, waiting = [], list(panel._box.children)
    while waiting:
        widget = waiting.pop()
        waiting += getattr(widget, "children", ())
        found += [widget] if isinstance(widget, ipywidgets.Button) else []
    return found
