"""PromQL over recordings, without a server: what is answered, what is refused, and that hostile input stays cheap."""

from __future__ import annotations

import time

import numpy as np
import pytest

from shared.observability.promql import QueryError, evaluate, evaluate_at, parse
from shared.observability.recording import Recording, Series, load


def _recording(*series: tuple[dict[str, str], list[float]], interval: float = 60.0) -> Recording:
    times = interval * np.arange(max(len(values) for _, values in series), dtype=np.float64)
    return Recording("test", "", interval, times, None, None, tuple(Series(a, np.array(b, float)) for a, b in series))


COUNTERS = _recording(
    ({"__name__": "requests_total", "route": "/a"}, [0, 60, 120, 180, 0, 60]),
    ({"__name__": "requests_total", "route": "/b"}, [0, 30, 60, 90, 120, 150]),
    ({"__name__": "failures_total", "route": "/a", "type": "db"}, [0, 6, 12, 18, 24, 30]),
)


def _at(expr: str, t: float = 300.0, recording: Recording = COUNTERS) -> dict[tuple[str, ...], float]:
    return {tuple(labels.values()): value for labels, value in evaluate_at(expr, recording, t)}


def test_a_rate_is_extrapolated_over_the_whole_window() -> None:
    assert _at('rate(requests_total{route="/b"}[2m])') == {("/b",): pytest.approx(0.5)}


def test_a_counter_reset_counts_from_zero() -> None:
    assert _at('increase(requests_total{route="/a"}[2m])') == {("/a",): pytest.approx(60.0)}


def test_windows_are_closed_on_both_sides() -> None:
    assert _at('count_over_time(requests_total{route="/b"}[2m])') == {("/b",): 3.0}


def test_a_ratio_whose_sides_differ_in_labels_is_empty_without_sum() -> None:
    assert _at("rate(failures_total[5m]) / rate(requests_total[5m])") == {}
    assert len(_at("sum(rate(failures_total[5m])) / sum(rate(requests_total[5m]))")) == 1


def test_a_sample_stays_visible_for_five_minutes() -> None:
    values = evaluate("requests_total", COUNTERS, np.array([300.0, 600.0, 600.001]))[0][1]
    assert values[:2].tolist() == [60.0, 60.0]
    assert np.isnan(values[2])


def test_nan_is_a_sample_but_absence_is_none() -> None:
    zero = "sum(requests_total) * 0 / 0"
    assert [np.isnan(value) for _, value in evaluate_at(f"{zero} or vector(1)", COUNTERS, 300.0)] == [True]
    assert evaluate_at(f"({zero} > 0) or vector(1)", COUNTERS, 300.0) == [({}, 1.0)]
    assert evaluate_at(f"absent({zero})", COUNTERS, 300.0) == []


def test_topk_is_ranked_and_keeps_labels() -> None:
    ranked = evaluate_at("topk(2, requests_total)", COUNTERS, 300.0)
    assert [(labels["route"], value) for labels, value in ranked] == [("/b", 150.0), ("/a", 60.0)]
    assert [labels["route"] for labels, _ in evaluate_at("bottomk(1, requests_total)", COUNTERS, 300.0)] == ["/a"]


def test_a_range_evaluation_equals_its_instants() -> None:
    recording = load("errors-20")
    times = recording.times[40::70]
    expr = "sum by (route) (rate(requests_failed_total[5m])) / sum by (route) (rate(requests_total[5m]))"
    series = {labels["route"]: values for labels, values in evaluate(expr, recording, times)}
    for place, moment in enumerate(times.tolist()):
        for labels, value in evaluate_at(expr, recording, moment):
            assert series[labels["route"]][place] == value


def test_a_long_sum_by_prefix_sums_equals_the_plain_one() -> None:
    values = np.sin(np.arange(20_000.0)) * 50 + 1e6
    recording = _recording(({"__name__": "x"}, values.tolist()))
    [(_, sums)] = evaluate("sum_over_time(x[10h])", recording, recording.times)
    assert sums[-1] == pytest.approx(values[-601:].sum(), rel=1e-12)
    assert sums[5] == pytest.approx(values[:6].sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("expr", "words"),
    [
        ("sum(", "not PromQL"),
        ("rate(requests_total)", "expected type matrix"),
        ("rate(requests_total[300])", "needs a unit"),
        ("requests_total[5m]", "range vector is no answer"),
        ('"text"', "string is no answer"),
        ("holt_winters(requests_total[5m], 0.5, 0.5)", "holt_winters"),
        ("info(requests_total)", "info() is not supported"),
        ('requests_total{route=~"("}', "illegal regex"),
        ("requests_total * on () requests_total", "many-to-many"),
        ('{"requests_total"}', "quoted name"),
        ("a" * 5000, "at most 4000 characters"),
        ("(" * 100 + "1" + ")" * 100, "too large"),
        ("-" * 1000 + "1", "too large"),
        ("1" + "+1" * 1500, "too large"),
        ("\0", "control character"),
    ],
)
def test_a_refusal_is_one_sentence_that_names_the_reason(expr: str, words: str) -> None:
    with pytest.raises(QueryError) as refusal:
        evaluate_at(expr, COUNTERS, 300.0)
    assert words in str(refusal.value)
    assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)


def test_a_raw_string_is_a_string() -> None:
    assert parse("x{a=~`\\d+`}") == parse('x{a=~"\\\\d+"}')


@pytest.mark.parametrize(
    "expr",
    [
        'count({__name__=~"(.*)*(a*)*b?c"})',
        'label_replace(label_join(vector(1), "x", "aaaaaaaaaaaaaaaa", '
        + '"q", ' * 40
        + '"q"), "y", "$1", "x", "((a+)+)+b")',
        "max_over_time(max_over_time(max_over_time(requests_total[30d:1s])[30d:1s])[30d:1s])",
        "quantile_over_time(0.5, requests_total[100y])",
        "sum_over_time(vector(1)[100y:1ms])",
        "sum_over_time(requests_total[90y] offset -90y)",
    ],
)
def test_hostile_expressions_end_soon(expr: str) -> None:
    times = np.arange(0, 43_201 * 60.0, 60.0)
    begun = time.process_time()
    try:
        evaluate(expr, COUNTERS, times)
    except QueryError as error:
        assert str(error).endswith(".")
    assert time.process_time() - begun < 20  # CPU, not the clock; an exponential search would take years
