"""A dashboard's JSON is read as Grafana shows it, and whatever is no dashboard is refused in one sentence."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from shared.observability.dashboard import FILE, build_dashboard, text
from shared.observability.dashboard_layout import (
    LayoutError,
    Panel,
    Query,
    colour_of,
    filled,
    layout_of,
    read,
    reading,
    samples,
)
from shared.observability.recording import load

RISING = [(-math.inf, "green"), (0.5, "yellow"), (1.0, "red")]
ONSET = load("errors-20").onset or 0.0
REQUESTS = "sum(rate(requests_failed_total[5m])) / sum(rate(requests_total[5m]))"


def panels(*entries: dict[str, Any], **more: Any) -> list[tuple[str, list[str]]]:
    """The titles of rows and of the panels in them."""
    return [
        (row.title, [panel.title for panel in row.panels]) for row in read(json.dumps({"panels": entries, **more})).rows
    ]


def at(title: str, x: int = 0, y: int = 0) -> dict[str, Any]:
    return {"type": "stat", "title": title, "gridPos": {"x": x, "y": y, "w": 4, "h": 4}}


def row(title: str, *inside: dict[str, Any], y: int = 0) -> dict[str, Any]:
    return {"type": "row", "title": title, "collapsed": bool(inside), "panels": inside, "gridPos": {"x": 0, "y": y}}


def test_the_file_in_deploy_is_what_the_function_builds() -> None:
    assert FILE.read_text() == text(), "run python -m shared.observability.dashboard"


def test_the_reference_has_rows_of_3_4_2_and_3_panels() -> None:
    assert [len(one.panels) for one in layout_of(build_dashboard()).rows] == [3, 4, 2, 3]


def test_panels_belong_to_the_row_panel_before_them_open_or_collapsed() -> None:
    opened = (at("a", 0, 0), row("B", y=4), at("b", 0, 5), at("c", 4, 9), row("D", at("d", 0, 14), y=13))
    assert panels(*opened) == [("", ["a"]), ("B", ["b", "c"]), ("D", ["d"])]


def test_without_row_panels_a_row_is_one_height_from_left_to_right() -> None:
    assert panels(at("d", 4, 8), at("b", 4), at("a"), at("c", 0, 8)) == [("", ["a", "b"]), ("", ["c", "d"])]


def test_row_panels_out_of_order_in_the_file_are_read_by_their_place() -> None:
    shown = [
        row("4", y=60),
        *(at(f"4{x}", x, 61) for x in range(3)),
        row("1", y=0),
        *(at(f"1{x}", x, 1) for x in range(3)),
    ]
    shown += [
        row("3", y=40),
        *(at(f"3{x}", x, 41) for x in range(2)),
        row("2", y=20),
        *(at(f"2{x}", x, 21) for x in range(4)),
    ]
    assert [title for title, _ in panels(*shown)] == ["1", "2", "3", "4"]


def test_a_hidden_query_is_not_there_and_a_panel_lends_its_source() -> None:
    entry = at("a") | {
        "datasource": {"uid": "prometheus"},
        "targets": [{"expr": "a", "hide": True}, {"expr": "b"}, {"expr": "c", "datasource": {"uid": "loki"}}],
    }
    (only,) = read(json.dumps({"panels": [entry]})).rows[0].panels
    assert [(query.expr, query.source) for query in only.queries] == [("b", "prometheus"), ("c", "loki")]


@pytest.mark.parametrize(
    ("flags", "instant", "ranged"),
    [({}, False, True), ({"instant": True}, True, False), ({"instant": True, "range": True}, True, True)],
)
def test_a_query_is_a_range_query_unless_it_says_instant(flags: dict[str, bool], instant: bool, ranged: bool) -> None:
    entry = at("a") | {"targets": [{"expr": "a", **flags}]}
    (query,) = read(json.dumps({"panels": [entry]})).rows[0].panels[0].queries
    assert (query.instant, query.range) == (instant, ranged)


@pytest.mark.parametrize(("value", "colour"), [(0.0, "green"), (0.5, "yellow"), (0.999, "yellow"), (1.0, "red")])
def test_a_value_that_equals_a_step_has_reached_it(value: float, colour: str) -> None:
    assert colour_of(RISING, value) == colour


def test_steps_are_taken_in_their_order_up_to_the_first_that_is_not_reached() -> None:
    assert colour_of(RISING[::-1], 0.1) == "red"
    assert colour_of(RISING, math.nan) is None and colour_of([], 1.0) is None


def test_grafanas_variables_are_filled_in_and_others_are_refused() -> None:
    assert filled("a[$__rate_interval] b[${__interval}] c[$__range]", 3600.0) == "a[5m] b[5m] c[3600s]"
    assert filled('a{b=~"x$"}', 60.0) == 'a{b=~"x$"}'
    with pytest.raises(LayoutError, match=r"\$stage has no value"):
        filled('a{stage="$stage"}', 60.0)


def test_a_light_shows_the_last_value_and_the_mean_of_the_range_where_it_says_so() -> None:
    query = Query(REQUESTS, "prometheus", False, True)
    moment = (ONSET + 1200,)
    ((_, (last,)),) = reading(Panel("", "stat", (query,)), 21600.0, "errors-20", moment)
    ((_, (mean,)),) = reading(Panel("", "stat", (query,), calc="mean"), 21600.0, "errors-20", moment)
    assert last == pytest.approx(0.2, abs=0.01) and 0.01 < mean < 0.05


@pytest.mark.parametrize(
    ("expr", "words"),
    [
        ("sum(", "not PromQL"),
        ("max_over_time(up[365d:1s])", "at most 5,000 steps"),
        ("max_over_time(max_over_time(up[1d:1m])[1d:1m])", "at most 5,000 steps"),
        ("requests_total[5m]", "range vector"),
    ],
)
def test_a_query_that_cannot_be_answered_is_refused_in_one_sentence(expr: str, words: str) -> None:
    with pytest.raises(LayoutError, match=words) as refusal:
        samples(expr, 3600.0, "errors-20", (ONSET,))
    assert "\n" not in str(refusal.value)


def test_a_builder_is_no_dashboard() -> None:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    with pytest.raises(LayoutError, match=r"needs \.build\(\)"):
        layout_of(Dashboard("x"))
