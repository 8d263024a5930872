"""The pictures of 17.1.1 tell the truth about pools, and the same story every time."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.observability.contracts import PoolSnapshot
from shared.observability.instrumented_worker_pool import InstrumentedWorkerPool
from shared.simulation.traffic import Arrivals
from shared.widgets.live_chart import Frame
from shared.widgets.style import Picture
from shared.widgets.worker_pool import worker_pool_playground
from shared.widgets.worker_pool_figures import compare_with_reference, incident_figure, worker_pool_storyboard
from shared.widgets.worker_pool_simulation import CALM, QUEUE_SIZE, SLOW, TRIPLE, PoolSimulation

FIGURES: dict[str, Callable[[], Picture]] = {
    "storyboard": worker_pool_storyboard.__wrapped__,
    "incident": incident_figure.__wrapped__,
    "comparison": lambda: compare_with_reference(InstrumentedWorkerPool),
}


def play(dials: dict[str, float], until: float = 120.0, dt: float = 0.5) -> tuple[PoolSimulation, list[Frame]]:
    """A calm minute, and then `dials`."""
    simulation, frames = PoolSimulation(), []
    while simulation.now < until:
        if simulation.now == 60.0:
            for dial, value in dials.items():
                simulation.set(dial, value)
        simulation.step(dt)
        frames.append(simulation.frame())
    return simulation, frames


def rows(frames: list[Frame], pane: str) -> list[list[float]]:
    return [row for frame in frames for row in frame["panes"][pane]]


def test_the_story_is_the_same_every_time_and_whatever_the_steps() -> None:
    assert play(TRIPLE)[1] == play(TRIPLE)[1]
    assert rows(play(TRIPLE, dt=0.5)[1], "pool") == rows(play(TRIPLE, dt=2.0)[1], "pool")


def test_too_much_traffic_fills_the_queue_and_leaves_the_run_time_alone() -> None:
    calm, busy = play(CALM)[0].snapshot(), play(TRIPLE)[0].snapshot()
    assert not calm.rejecting and busy.rejecting
    assert busy.queued > QUEUE_SIZE / 2 and busy.idle == 0
    assert (busy.p99_60s or 9.0) < 1.2 * (calm.p99_60s or 0.0)


def test_slow_tasks_show_in_p99_and_are_forgotten_a_minute_later() -> None:
    simulation, _ = play(SLOW)
    assert (simulation.snapshot().p99_60s or 0.0) > 0.8
    for dial, value in CALM.items():
        simulation.set(dial, value)
    simulation.step(75.0)
    assert (simulation.snapshot().p99_60s or 9.0) < 0.5


def test_silence_is_none_and_not_0() -> None:
    told = play({"rate": 0.0}, until=130.0)[0]
    assert told.snapshot().p99_60s is None and told.snapshot().queued == 0
    assert "③ no task in 60 s" in told.frame()["words"]


def test_every_task_is_in_one_column() -> None:
    simulation, frames = play(TRIPLE)
    simulation.set("rate", 0.0)
    simulation.step(30.0)
    seen = sum(sum(row[1:]) for row in rows([*frames, simulation.frame()], "tasks"))
    arrivals = Arrivals(seed=1)
    came = sum(1 for _ in arrivals.between(0.0, 60.0, 25.0)) + sum(1 for _ in arrivals.between(60.0, 120.0, 75.0))
    assert seen == came


def test_failures_and_fewer_workers_show_in_the_answers() -> None:
    simulation, _ = play({"errors": 0.5, "workers": 3.0})
    told = simulation.snapshot()
    assert told.failed_5m > 100 and told.active + told.idle == 3
    assert f"④ {told.failed_5m} failed" in simulation.frame()["words"]


def test_an_unknown_dial_is_refused() -> None:
    with pytest.raises(KeyError, match="no dial 'volume'"):
        PoolSimulation().set("volume", 11.0)


def test_the_playground_takes_its_dials_and_leaves_no_thread() -> None:
    panel = worker_pool_playground()
    try:
        panel.pause()
        panel.controls["workers"].value = 3.0
        for name, value in CALM.items():
            assert panel.controls[name].value == value
        panel.tick()
    finally:
        panel.close()
    assert not panel.running


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_same_bytes_every_time_and_has_words(name: str) -> None:
    picture = FIGURES[name]()
    assert picture.svg == FIGURES[name]().svg
    root = ElementTree.fromstring(picture.svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", picture.alt)
    assert "dc:date" not in picture.svg and "prefers-color-scheme: dark" in picture.svg


class Forgetless(InstrumentedWorkerPool):
    """Never stops rejecting."""

    def snapshot(self) -> PoolSnapshot:
        return replace(super().snapshot(), rejecting=self._last_rejected > 0)


class ZeroInSilence(InstrumentedWorkerPool):
    def snapshot(self) -> PoolSnapshot:
        told = super().snapshot()
        return replace(told, p99_60s=told.p99_60s or 0.0)


def test_the_comparison_says_where_they_differ_first() -> None:
    assert compare_with_reference(InstrumentedWorkerPool).alt == "The same five answers at all 480 looks."
    words = "First difference at 0.5 s: p99_60s is None by the reference, 0 by yours."
    assert compare_with_reference(ZeroInSilence).alt == words
    assert "rejecting is False by the reference, True by yours" in compare_with_reference(Forgetless).alt


class NotWritten:
    def __init__(self, workers: int, queue_size: int, registry: Any, clock: Callable[[], float] = time.monotonic):
        raise NotImplementedError


def test_the_comparison_lets_an_unwritten_part_through() -> None:
    with pytest.raises(NotImplementedError):
        compare_with_reference(NotWritten)
