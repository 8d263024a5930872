"""The pictures of 17.1.4 count what Prometheus would fire, and are the same every time."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import pytest

from shared.observability.alert_rules import RULES
from shared.observability.alerting import RulesError, fire, parse_rules
from shared.observability.recording import load
from shared.widgets.alerts import alerts_playground
from shared.widgets.alerts_figures import _Refused, alerts_storyboard, compare_with_reference, incident_figure
from shared.widgets.alerts_simulation import SIGNALS, WINDOWS, curve, episodes, replay
from shared.widgets.style import Picture

FIGURES: dict[str, Callable[[], Picture]] = {
    "storyboard": alerts_storyboard.__wrapped__,
    "incident": incident_figure.__wrapped__,
    "comparison": lambda: compare_with_reference(RULES),
}


@pytest.mark.parametrize(
    ("signal", "name"), [("errors", "quiet-month"), ("errors", "errors-20"), ("latency", "slow-stage")]
)
@pytest.mark.parametrize("hold", [0, 5])
def test_an_episode_is_what_the_rules_of_prometheus_give(signal: str, name: str, hold: int) -> None:
    recording, chosen = load(name), SIGNALS[signal]
    expr = f"{chosen.expr.format(window=5)} > {chosen.slo}"
    rule = f"groups: [{{name: g, rules: [{{alert: A, expr: '{expr}', for: {hold}m}}]}}]"
    zero = recording.times[0] if recording.onset is None else recording.onset
    fired = [
        ((alert.pending - zero) / 60, (alert.firing - zero) / 60, ((alert.resolved or recording.times[-1]) - zero) / 60)
        for alert in fire(parse_rules(rule), recording, recording.interval)
        if alert.firing is not None
    ]
    assert episodes(curve(signal, name, 5), chosen.slo, float(hold)) == fired != []


@pytest.mark.parametrize("window", WINDOWS)
def test_the_month_is_quiet_as_soon_as_for_outlasts_window_and_blip(window: int) -> None:
    for signal, chosen in SIGNALS.items():
        assert replay(signal, window, chosen.slo, window + 2.0).pages == ()
        assert len(replay(signal, window, chosen.slo, window - 1.0).pages) > 20


def test_a_long_window_cannot_be_quiet_and_in_time() -> None:
    for hold in range(15):
        outcome = replay("errors", 10, 0.05, float(hold))
        assert outcome.pages or outcome.missed
    outcome = replay("errors", 5, 0.05, 8.0)
    assert not (outcome.pages or outcome.missed or outcome.false_alarms)


def test_a_low_threshold_is_a_false_alarm_and_a_high_one_a_miss() -> None:
    assert replay("errors", 5, 0.01, 8.0).false_alarms[0].name == "errors-2"
    assert replay("errors", 5, 0.5, 8.0).missed[0].name == "errors-20"


def test_the_playground_follows_its_dials() -> None:
    panel = alerts_playground()
    assert panel.words.startswith("27 pages in 30 quiet days · detected after 6.5 min: 20 %")
    panel.hold.value = 8
    assert panel.words.startswith("0 pages in 30 quiet days · detected after 9.5 min")
    panel.threshold.value = 0.3
    assert "MISSED" in panel.words and "MISSED" in panel._picture.value
    panel.signal.value = "latency"
    assert "5 % of the requests take 3.5 s" in panel._picture.value
    assert panel.threshold.value == SIGNALS["latency"].slo
    panel.close()


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_same_bytes_every_time_and_has_words(name: str) -> None:
    picture = FIGURES[name]()
    assert picture.svg == FIGURES[name]().svg
    root = ElementTree.fromstring(picture.svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", picture.alt)
    assert "dc:date" not in picture.svg and "prefers-color-scheme: dark" in picture.svg


def test_the_incident_tells_its_own_numbers() -> None:
    fires = [episodes(curve("errors", "errors-20", 5), 0.05, hold)[0] for hold in (5.0, 8.0)]
    assert [(start, fire, end) for start, fire, end in fires] == [(1.5, 6.5, 49.0), (1.5, 9.5, 49.0)]
    assert len(replay("errors", 5, 0.05, 5.0).pages) == 27


def test_the_comparison_says_where_they_differ_first() -> None:
    assert compare_with_reference(RULES).alt == "The same signals and severities in all five incidents."
    words = "First difference, 20 % fail: critical errors, warning errors by the reference, warning errors by yours."
    assert compare_with_reference(RULES.replace("> 0.05", "> 5")).alt == words


def test_the_comparison_passes_on_what_is_not_written_and_what_is_refused() -> None:
    with pytest.raises(NotImplementedError):
        compare_with_reference(" ")
    with pytest.raises(RulesError, match="severity stands outside labels"):
        compare_with_reference("groups: [{name: g, rules: [{alert: A, expr: up, severity: critical}]}]")


def test_rules_that_are_refused_show_one_line_in_a_notebook() -> None:
    with pytest.raises(_Refused) as refused:
        compare_with_reference("- alert: A")
    (line,) = refused.value._render_traceback_()
    assert line.startswith("Prometheus refuses these rules: A rule file is a mapping")
