"""The pictures of 17.2.4 tell the truth about the fallback, and the same story every time."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import pytest

from shared.resilience.fallback import RecommendationService
from shared.widgets.fallback import compare_with_reference, fallback_playground, incident_figure, outage_figure
from shared.widgets.fallback_simulation import ERRORS, GOALS, RATE, USERS, FallbackSimulation, restart_table
from shared.widgets.style import Picture

FIGURES: dict[str, Callable[[], Picture]] = {
    "incident": incident_figure.__wrapped__,
    "outage": outage_figure.__wrapped__,
    "comparison": lambda: compare_with_reference(RecommendationService),
}


def mean(simulation: FallbackSimulation, level: str, last: int) -> float:
    shares = [column[level] for column in simulation.columns[-last:]]
    return sum(share for share in shares if share is not None) / last


def test_a_good_day_reads_90_8_2_as_the_formula_says() -> None:
    simulation = FallbackSimulation()
    simulation.step(3000.0)
    static = ERRORS * math.exp(-(1 - ERRORS) * RATE / USERS * 300)
    expected = {"live": 1 - ERRORS, "cache": ERRORS - static, "static": static}
    for level, share in expected.items():
        assert mean(simulation, level, 300) == pytest.approx(share, abs=0.006)
        assert share == pytest.approx(GOALS[level], abs=0.001)


def test_the_shares_of_each_column_add_up_to_all_answers() -> None:
    simulation = FallbackSimulation()
    simulation.set("up", 0)
    simulation.step(60.0)
    for column in simulation.columns:
        assert sum(share or 0.0 for share in column.values()) == pytest.approx(1.0)


def test_the_cache_of_a_dead_client_runs_dry_in_five_minutes() -> None:
    simulation = FallbackSimulation()
    simulation.set("up", 0)
    simulation.step(10.0)
    assert (simulation.columns[-1]["cache"] or 0.0) > 0.7
    simulation.step(290.0)
    assert (simulation.columns[-1]["cache"] or 0.0) > 0.0
    simulation.step(10.0)
    assert simulation.columns[-1] == {"live": 0.0, "cache": 0.0, "static": 1.0}
    simulation.set("up", 1)
    simulation.step(60.0)
    assert (simulation.shares()["live"] or 0.0) > 0.8


def test_the_story_does_not_depend_on_the_size_of_the_steps() -> None:
    coarse, fine = FallbackSimulation(), FallbackSimulation()
    for simulation, steps in ((coarse, 2), (fine, 60)):
        simulation.set("up", 0)
        for _ in range(steps):
            simulation.step(60.0 / steps)
    assert coarse.columns == fine.columns


def test_the_same_seed_gives_the_same_frame_and_another_seed_another() -> None:
    assert FallbackSimulation().frame() == FallbackSimulation().frame()
    assert FallbackSimulation().frame() != FallbackSimulation(seed=2).frame()


def test_the_restart_table_shows_that_the_restart_made_it_worse(capsys: pytest.CaptureFixture[str]) -> None:
    restart_table(minutes=2)
    minute, alone, restarted = capsys.readouterr().out.splitlines()[-1].split()
    assert (minute, restarted) == ("2", "100%")
    assert int(alone.rstrip("%")) < 50


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_same_bytes_every_time_and_has_words(name: str) -> None:
    picture = FIGURES[name]()
    assert FIGURES[name]().svg == picture.svg
    root = ElementTree.fromstring(picture.svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", picture.alt)


def test_the_reference_agrees_with_itself() -> None:
    assert compare_with_reference(RecommendationService).alt.startswith("The same on all ")


class Eternal(RecommendationService):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args, ttl=1e9)


class Raises(RecommendationService):
    def recommend(self, user: Any) -> Any:
        raise ZeroDivisionError


class Unanswered(RecommendationService):
    def recommend(self, user: Any) -> Any:
        raise NotImplementedError("your answer goes here")


def test_the_first_difference_is_told_in_words() -> None:
    words = compare_with_reference(Eternal).alt
    assert words.startswith("First difference at ")
    assert "'static' with ['bestseller 1'" in words and "'cache' with" in words
    assert "an exception (ZeroDivisionError) from yours" in compare_with_reference(Raises).alt


def test_an_untouched_answer_raises_not_implemented_error() -> None:
    with pytest.raises(NotImplementedError, match="your answer goes here"):
        compare_with_reference(Unanswered)


def test_the_playground_kills_and_revives_the_client_and_stops_when_closed() -> None:
    panel = fallback_playground()
    try:
        panel.pause()
        panel.controls["up"].value = False
        for _ in range(160):
            panel.tick()
        frame = panel.chart.replay()
        assert frame is not None
        assert frame["words"].startswith("Recommender DEAD. Pages answered: 100 %.")
        assert frame["panes"]["bar"]["values"]["live"] == 0.0
    finally:
        panel.close()
    assert not panel.running
