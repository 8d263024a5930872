"""The pictures of 17.2.3 tell the truth about bulkheads, and the same story every time."""

from __future__ import annotations

import queue
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import pytest

from shared.resilience.bulkhead import Bulkhead
from shared.simulation.traffic import Arrivals
from shared.widgets.bulkhead import bulkhead_playground
from shared.widgets.bulkhead_figures import bulkhead_storyboard, compare_with_reference, incident_figure
from shared.widgets.bulkhead_simulation import CALM, FLOOD, LIMITS, SHARED, TENANTS, TIMEOUT, BulkheadSimulation
from shared.widgets.live_chart import Frame
from shared.widgets.style import Picture

FIGURES: dict[str, Callable[[], Picture]] = {
    "storyboard": bulkhead_storyboard.__wrapped__,
    "incident": incident_figure.__wrapped__,
    "comparison": lambda: compare_with_reference(Bulkhead),
}


def play(pools: float, until: float = 60.0, dt: float = 0.5) -> tuple[BulkheadSimulation, list[Frame]]:
    """Free floods from 20 s on."""
    simulation, frames = BulkheadSimulation(pools=pools), []
    while simulation.now < until:
        if simulation.now == 20.0:
            for dial, value in FLOOD.items():
                simulation.set(dial, value)
        simulation.step(dt)
        frames.append(simulation.frame())
    return simulation, frames


def rows(frames: list[Frame], pane: str) -> list[list[float]]:
    return [row for frame in frames for row in frame["panes"][pane]]


def test_the_story_is_the_same_every_time_and_whatever_the_steps() -> None:
    assert play(1.0)[1] == play(1.0)[1]
    assert rows(play(1.0, dt=0.5)[1], "premium") == rows(play(1.0, dt=2.0)[1], "premium")


def test_one_pool_sinks_premium_and_two_do_not() -> None:
    shared, own = play(1.0)[0], play(2.0)[0]
    assert shared.p99("premium") == TIMEOUT
    assert (own.p99("premium") or TIMEOUT) < 1.0
    assert own.outcomes["premium"]["refused"] == own.outcomes["premium"]["expired"] == 0


def test_premium_with_its_own_pool_does_not_notice_the_flood_at_all() -> None:
    calm = BulkheadSimulation(pools=2.0)
    calm.step(60.0)
    assert rows([calm.frame()], "premium") == rows(play(2.0)[1], "premium")


def test_no_tenant_takes_more_than_its_places() -> None:
    for _, premium, free in rows(play(2.0)[1], "busy"):
        assert premium <= LIMITS["premium"].max_concurrent and free <= LIMITS["free"].max_concurrent
    assert max(premium + free for _, premium, free in rows(play(1.0)[1], "busy")) == SHARED.max_concurrent


def test_every_call_is_in_one_column() -> None:
    simulation, frames = play(1.0)
    for tenant in TENANTS:
        simulation.set(tenant, 0.0)
    simulation.step(20.0)
    seen = rows([*frames, simulation.frame()], "premium")
    assert sum(sum(row[1:]) for row in seen) == len(list(Arrivals(seed=1).between(0.0, 60.0, 12.0)))


def test_switching_to_two_pools_heals_premium_while_the_flood_goes_on() -> None:
    simulation, _ = play(1.0)
    simulation.set("pools", 2.0)
    simulation.step(30.0)
    assert (simulation.p99("premium") or TIMEOUT) < 1.0
    assert simulation.frame()["words"].startswith("Two pools. ")


def test_an_unknown_dial_is_refused() -> None:
    with pytest.raises(KeyError, match="no dial 'volume'"):
        BulkheadSimulation().set("volume", 11.0)


def test_the_playground_takes_its_dials_and_leaves_no_thread() -> None:
    panel = bulkhead_playground()
    try:
        panel.pause()
        panel.controls["pools"].value = 2.0
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


class Unbounded(Bulkhead):
    """Runs every call at once."""

    def submit(self, tenant, fn, timeout):
        thread = threading.Thread(target=fn, daemon=True)
        thread.start()
        thread.join(timeout)
        if thread.is_alive():
            raise TimeoutError


class Hesitant(Bulkhead):
    def submit(self, tenant, fn, timeout):
        time.sleep(0.5)
        return super().submit(tenant, fn, timeout - 0.5)


def test_the_comparison_says_where_they_differ_first() -> None:
    assert compare_with_reference(Bulkhead).alt == "The same on all 11 calls."
    words = "First difference, free 3: timed out by the reference, served by yours."
    assert compare_with_reference(Unbounded).alt == words
    words = "First difference, free 1: it began at 0.0 s by the reference, it began at 0.5 s by yours."
    assert compare_with_reference(Hesitant).alt == words


class NotWritten:
    def __init__(self, limits, clock=time.monotonic):
        raise NotImplementedError


def test_the_comparison_lets_an_unwritten_part_through() -> None:
    with pytest.raises(NotImplementedError):
        compare_with_reference(NotWritten)


class Refusing(Bulkhead):
    def submit(self, tenant, fn, timeout):
        raise queue.Full


def test_the_comparison_shows_refusals() -> None:
    words = "First difference, free 1: timed out by the reference, refused by yours."
    assert compare_with_reference(Refusing).alt == words
