"""The pictures of 17.2.2 tell the truth about herds and retries, and the same story every time."""

from __future__ import annotations

import functools
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import pytest

from shared.resilience.contracts import BackoffConfig, is_retryable
from shared.resilience.retry import JITTERS, retry
from shared.widgets.retry import (
    compare_with_reference,
    counterexample,
    herd_figure,
    herd_playground,
    herd_table,
    incident_figure,
)
from shared.widgets.retry_simulation import BIN, CLIENTS, REST, SURVIVES, HerdSimulation, outage
from shared.widgets.style import Picture


def listing(fn, config, *, sleep, rng, clock, deadline=None):
    delay = config.initial_delay
    for _ in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error):
                raise
        sleep(delay + rng.uniform(0, delay))
        delay = min(delay * 2, config.max_delay)
    raise RuntimeError("attempts exhausted")


FIGURES: dict[str, Callable[[], Picture]] = {
    "incident": incident_figure.__wrapped__,
    "herd": herd_figure.__wrapped__,
    "counterexample": lambda: counterexample(listing),
    "comparison": lambda: compare_with_reference(retry),
}


@functools.cache
def figure(name: str) -> Picture:
    return FIGURES[name]()


class TestTheHerd:
    def test_comes_whole_without_jitter_at_the_bounds_and_at_most_a_quarter_of_it_with(self):
        runs = {name: outage(name) for name in JITTERS}
        assert runs["none"].peak == CLIENTS
        assert [round(n * BIN, 1) for n, count in enumerate(runs["none"].columns, 1) if count] == [2.0, 6.0, 14.0]
        for name in ("equal", "full", "decorrelated"):
            assert runs[name].peak <= CLIENTS / 4

    def test_is_all_back_some_time_after_the_server(self):
        for name in JITTERS:
            run = outage(name, down=3.0)
            assert run.all_back is not None and run.all_back > 3.0
            assert run.connected[-1] == CLIENTS

    def test_keeps_a_server_down_that_full_jitter_lets_up(self):
        every_second = BackoffConfig(initial_delay=1.0, multiplier=1.0, max_attempts=10_000)
        herd = outage("none", config=every_second, down=3.0, survives=SURVIVES)
        assert max(herd.connected) == 0 and herd.all_back is None
        assert outage("full", down=3.0, survives=SURVIVES).all_back is not None

    def test_is_the_same_for_the_same_seed_and_whatever_the_size_of_the_steps(self):
        assert outage("full") == outage("full") != outage("full", seed=2)
        fine, coarse = HerdSimulation("full"), HerdSimulation("full")
        for simulation, step in ((fine, BIN), (coarse, 10 * BIN)):
            simulation.set("up", 0)
            for _ in range(round(6.0 / step)):
                simulation.step(step)
            simulation.close()
        assert fine.columns == coarse.columns


class TestTheSimulation:
    def test_falls_over_at_one_more_than_it_survives_and_starts_again_after_its_rest(self):
        simulation = HerdSimulation("none")
        simulation.set("up", 0)
        simulation.step(1.0)
        simulation.set("up", 1)
        simulation.step(1.0 - BIN)
        assert simulation.up
        simulation.step(2 * BIN)
        assert not simulation.up and simulation.falls == 1
        simulation.step(REST + BIN)
        assert simulation.up
        simulation.close()

    def test_says_what_is_going_on(self):
        simulation = HerdSimulation("full")
        assert "Pull the plug" in simulation.frame()["words"]
        simulation.set("up", 0)
        simulation.step(1.0)
        down = simulation.frame()
        assert down["words"].startswith("DOWN, without power") and down["tone"] == "failed"
        simulation.set("up", 1)
        simulation.step(1.0)
        assert simulation.frame()["words"].startswith("UP: ")
        simulation.step(40.0)
        assert "all 100 clients are connected" in simulation.frame()["words"]
        simulation.close()

    def test_frames_are_plain_data_and_hold_each_column_once(self):
        simulation = HerdSimulation()
        simulation.set("up", 0)
        rows: list[list[float]] = []
        for _ in range(5):
            simulation.step(3 * BIN)
            frame = simulation.frame()
            json.dumps(frame)
            rows += frame["panes"]["connects"]
        assert [row[0] for row in rows] == pytest.approx([BIN * number for number in range(1, 16)])
        simulation.close()

    def test_has_only_the_dials_that_it_names(self):
        with pytest.raises(KeyError, match="choose jitter or up"):
            HerdSimulation().set("voltage", 230.0)


def test_the_playground_opens_with_a_full_picture_and_closes():
    panel = herd_playground()
    try:
        panel.pause()
        replay = panel.chart.replay()
        assert replay is not None
        assert set(replay["panes"]) == {pane["id"] for row in panel.chart.rows for pane in row["panes"]}
        panel.controls["up"].value = False
        panel.controls["jitter"].value = list(JITTERS).index("full")
        panel.tick()
        assert "jitter: full" in panel.chart.replay()["words"]
    finally:
        panel.close()
    assert not panel.running


def test_the_table_has_a_line_per_jitter(capsys):
    herd_table()
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.startswith("jitter") and "peak per 100 ms" in heading
    assert [line.split()[0] for line in lines] == list(JITTERS)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_same_bytes_every_time_and_can_be_read_aloud(name):
    picture = figure(name)
    assert FIGURES[name]().svg == picture.svg
    root = ElementTree.fromstring(picture.svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", picture.alt)
    assert "dc:date" not in picture.svg and "prefers-color-scheme: dark" in picture.svg


def test_the_listing_is_told_its_three_bugs():
    words = figure("counterexample").alt
    assert "the bound is 3 s" in words and "after its last call" in words and "lost the last call's" in words


def test_the_reference_has_nothing_to_object_to():
    assert counterexample(retry).alt.startswith("Nothing to object to.")
    assert figure("comparison").alt.startswith("All your waits are within their bounds. At most ")


def too_often(fn: Callable[[], Any], config: BackoffConfig, **options: Any) -> Any:
    while True:
        try:
            return fn()
        except ConnectionError:
            options["sleep"](0.1)


def unanswered(fn: Callable[[], Any], config: BackoffConfig, **options: Any) -> Any:
    raise NotImplementedError("your answer goes here")


def test_a_retry_that_never_gives_up_is_told_so_and_ends():
    assert "max_attempts is 5" in compare_with_reference(too_often).alt


def test_an_untouched_answer_raises_not_implemented_error():
    with pytest.raises(NotImplementedError, match="your answer goes here"):
        compare_with_reference(unanswered)
