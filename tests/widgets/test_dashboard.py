"""The pictures of 17.1.3 tell the truth about recorded incidents, and the same story every time."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import pytest

from shared.observability.dashboard import build_dashboard
from shared.palette import COLOURS
from shared.widgets.dashboard import dashboard_playground
from shared.widgets.dashboard_drawing import shown_value
from shared.widgets.dashboard_figures import (
    INCIDENTS,
    compare_with_reference,
    dashboard_picture,
    dashboard_storyboard,
    incident_figure,
    reference_layout,
)
from shared.widgets.style import Picture

FIGURES: dict[str, Callable[[], Picture]] = {
    "storyboard": dashboard_storyboard.__wrapped__,
    "incident": incident_figure.__wrapped__,
    "comparison": lambda: compare_with_reference(build_dashboard),
    "dashboard": lambda: dashboard_picture(reference_layout(), "errors-20", 20.0),
}
LIGHTS = {
    "slow-stage": "red green green",
    "slow-requests": "red green green",
    "near-slo": "yellow green green",
    "errors-20": "green red green",
    "errors-2": "green yellow green",
    "traffic-x4": "green green green",
    "traffic-32": "green green yellow",
    "traffic-12": "green green red",
    "stage-saturated": "green green green",
}


def lights(picture: Picture) -> str:
    """The colours that the words of a picture tell."""
    return " ".join(part.rpartition(": ")[2].strip(". ") for part in picture.alt.split(". ", 1)[1].split(";"))


@pytest.mark.parametrize("name", INCIDENTS)
def test_row_1_is_green_before_and_after_an_incident_and_tells_it_inside(name: str) -> None:
    assert lights(dashboard_picture(reference_layout(), name, -10.0)) == "green green green"
    assert lights(dashboard_picture(reference_layout(), name, 20.0)) == LIGHTS[name]
    assert lights(dashboard_picture(reference_layout(), name, 65.0)) == "green green green"


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_same_bytes_every_time_and_has_words(name: str) -> None:
    picture = FIGURES[name]()
    assert picture.svg == FIGURES[name]().svg
    root = ElementTree.fromstring(picture.svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", picture.alt)
    assert "prefers-color-scheme: dark" in picture.svg and 'data-jp-theme-light="false"' in picture.svg


def test_a_light_has_a_mark_beside_its_colour() -> None:
    svg = dashboard_picture(reference_layout(), "errors-20", 20.0).svg
    assert f'fill="{COLOURS["failed"]}"' in svg and "✗ 20.1 %" in svg and svg.count("✓") == 2


def test_the_scrubber_and_the_choice_of_an_incident_redraw() -> None:
    playground = dashboard_playground()
    try:
        before = playground.svg
        playground.minutes.value = 20
        slow = playground.svg
        assert slow != before and "Minute 20: it lasts" in playground.words
        playground.incident.value = "errors-20"
        assert playground.svg != slow
        playground.minutes.value = 60
        assert "it is over" in playground.words
    finally:
        playground.close()


def test_a_playground_shows_a_learners_own_dashboard() -> None:
    def renamed() -> Any:
        board = build_dashboard()
        board.panels[1].title = "<Latency & co>"
        return board

    playground = dashboard_playground(renamed)
    try:
        assert "&lt;Latency &amp; co&gt;" in playground.svg
    finally:
        playground.close()


def test_the_comparison_says_where_the_lights_differ_first() -> None:
    def sleepy() -> Any:
        board = build_dashboard()
        board.panels[2].targets[0].expr = "sum(rate(requests_failed_total[5m]))"
        return board

    assert compare_with_reference(build_dashboard).alt == "The lights have the same colours in all 9 incidents."
    words = compare_with_reference(sleepy).alt
    assert words.startswith("First difference: The resize stage is too slow for the traffic, after 20 min. Error ratio")
    assert "is green by the reference, yours is yellow" in words or "yours is red" in words


def test_broken_queries_are_words_in_their_panels() -> None:
    def broken() -> Any:
        board = build_dashboard()
        for panel in board.panels:
            for target in getattr(panel, "targets", None) or ():
                target.expr = "sum("
        return board

    assert "This is not PromQL" in compare_with_reference(broken).svg


def test_the_comparison_lets_an_unwritten_part_through() -> None:
    def unwritten() -> Any:
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        compare_with_reference(unwritten)


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.2882, "s", "288 ms"),
        (2.4, "s", "2.4 s"),
        (0.0123, "percentunit", "1.23 %"),
        (50.2, "reqps", "50.2 req/s"),
        (450887680.0, "bytes", "430 MiB"),
        (1000 * 2.0**20, "bytes", "1000 MiB"),
        (512.0, "bytes", "512 B"),
        (1234.0, "short", "1234"),
        (7.0, "", "7"),
    ],
)
def test_values_are_written_as_grafana_writes_them(value: float, unit: str, words: str) -> None:
    assert shown_value(value, unit) == words
