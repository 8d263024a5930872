"""Every query of the provisioned dashboard returns data on a real Prometheus, and row 1 has the right colours there."""

from __future__ import annotations

import math
from typing import Any

import pytest

from shared.observability.dashboard import FILE
from shared.observability.dashboard_layout import Layout, Panel, colour_of, filled, read, samples
from shared.observability.recording import load

LAYOUT: Layout = read(FILE.read_text())
PANELS = [panel for row in LAYOUT.rows for panel in row.panels]
QUERIES = [(panel, query) for panel in PANELS for query in panel.queries if query.source == "prometheus"]
COLOURS = {
    "errors-20": ("green", "red", "green"),
    "slow-stage": ("red", "green", "green"),
    "slow-requests": ("red", "green", "green"),
    "stage-saturated": ("green", "green", "green"),
    "traffic-x4": ("green", "green", "green"),
}

pytestmark = pytest.mark.needs("prometheus", "promtool", "alertmanager")


def onset(name: str) -> float:
    moment = load(name).onset
    assert moment is not None
    return moment


def test_only_the_log_stream_asks_another_source() -> None:
    assert [panel.kind for panel in PANELS if panel.queries[0].source != "prometheus"] == ["logs"]
    assert len(QUERIES) == 13


@pytest.mark.parametrize(
    ("panel", "query"), QUERIES, ids=[f"{panel.title}: {query.legend}" for panel, query in QUERIES]
)
def test_a_query_returns_the_same_data_on_the_real_server(backends: Any, panel: Panel, query: Any) -> None:
    moment = onset("errors-20") + 1200
    theirs = {
        tuple(sorted(one["metric"].items())): float(one["value"][1])
        for one in backends.query(filled(query.expr, LAYOUT.span), moment)
    }
    ours = {
        tuple(sorted(labels.items())): value
        for labels, (value,) in samples(query.expr, LAYOUT.span, "errors-20", (moment,))
    }
    assert theirs and theirs.keys() == ours.keys()
    assert all(math.isclose(theirs[key], ours[key], rel_tol=1e-9, abs_tol=1e-12) for key in ours)


@pytest.mark.parametrize("name", COLOURS)
def test_row_1_has_the_right_colours_on_the_real_server(backends: Any, name: str) -> None:
    for after, wanted in ((-600.0, ("green",) * 3), (1200.0, COLOURS[name]), (3900.0, ("green",) * 3)):
        shown = []
        for panel in LAYOUT.rows[0].panels:
            ((_, text),) = [
                one["value"] for one in backends.query(filled(panel.queries[0].expr, LAYOUT.span), onset(name) + after)
            ]
            shown.append(colour_of(panel.steps, float(text)))
        assert tuple(shown) == wanted
