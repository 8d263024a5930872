"""Rule files are read as strictly as Prometheus reads them, and alerts fire when Prometheus would fire them."""

from __future__ import annotations

import numpy as np
import pytest

from shared.observability.alerting import Alert, AlertRule, RulesError, fire, parse_rules
from shared.observability.recording import Recording, Series, load

RULE = """
groups:
- name: g
  rules:
  - alert: Hot
    expr: x > 1
"""


def _fired(values: list[float], *lines: str, every: float | None = None) -> list[Alert]:
    series = Series({"__name__": "x", "k": "v"}, np.array(values, float))
    recording = Recording("test", "", 60.0, 60.0 * np.arange(len(values)), None, None, (series,))
    return fire(parse_rules(RULE + "".join(f"    {line}\n" for line in lines)), recording, every)


def _minutes(alerts: list[Alert]) -> list[tuple[float | None, ...]]:
    return [tuple(None if t is None else t / 60 for t in (a.pending, a.firing, a.resolved)) for a in alerts]


def test_without_for_an_alert_fires_at_once() -> None:
    assert _minutes(_fired([0, 2, 2, 0])) == [(1, 1, 3)]


def test_for_holds_an_alert_pending_exactly_so_long() -> None:
    assert _minutes(_fired([0, 2, 2, 2, 0], "for: 2m")) == [(1, 3, 4)]
    assert _minutes(_fired([0, 2, 2, 0, 0], "for: 2m")) == [(1, None, 3)]


def test_an_interruption_starts_for_again() -> None:
    assert _minutes(_fired([2, 2, 0, 2, 2, 2, 2], "for: 2m")) == [(0, None, 2), (3, 5, None)]


def test_keep_firing_for_bridges_gaps_of_what_fires_only() -> None:
    assert _minutes(_fired([2, 0, 0, 2, 0, 0, 0, 0, 0], "keep_firing_for: 3m")) == [(0, 0, 7)]
    assert _minutes(_fired([2, 2, 0, 0, 2, 0, 0, 0], "for: 1m", "keep_firing_for: 2m")) == [(0, 1, 7)]
    assert _minutes(_fired([2, 0, 2, 2, 0, 0], "for: 1m", "keep_firing_for: 1m")) == [(0, None, 1), (2, 3, 5)]


def test_labels_are_the_series_and_the_rules() -> None:
    [alert] = _fired(
        [2], "labels: {severity: critical, of: '{{ $labels.k }}', k: ''}", "annotations: {a: '{{ $value }}'}"
    )
    assert alert.labels == {"alertname": "Hot", "severity": "critical", "of": "v"}
    assert alert.annotations == {"a": "{{ $value }}"}


def test_a_group_is_evaluated_at_its_own_interval_or_every() -> None:
    assert _minutes(_fired([0, 2, 2, 2, 2, 2, 2], every=120)) == [(2, 2, None)]


def test_a_recorded_incident_pages_within_minutes_and_resolves() -> None:
    recording = load("errors-20")
    ratio = "sum(rate(requests_failed_total[5m])) / sum(rate(requests_total[5m])) > 0.05"
    [alert] = fire(parse_rules(RULE.replace("x > 1", ratio) + "    for: 2m\n"), recording)
    assert recording.onset is not None and recording.recovery is not None
    assert alert.firing is not None and 60 <= alert.firing - recording.onset <= 720
    assert alert.resolved is not None and alert.resolved - recording.recovery <= 1200


def test_a_rule_that_reads_itself_is_refused() -> None:
    text = "groups: [{name: g, rules: [{record: y, expr: y + 1}]}]"
    with pytest.raises(RulesError, match="reads its own earlier results"):
        fire(parse_rules(text), load("errors-20"))


def test_a_warning_may_give_way_to_the_critical_alert_of_its_own_name() -> None:
    rules = """
groups:
- name: g
  rules:
  - alert: Hot
    expr: x > 2
    labels: {severity: critical}
  - alert: Hot
    expr: x > 1 unless on () ALERTS{severity="critical", alertstate="firing"}
    labels: {severity: warning}
"""
    series = Series({"__name__": "x"}, np.array([0, 2, 3, 3, 2, 0], float))
    recording = Recording("test", "", 60.0, 60.0 * np.arange(6), None, None, (series,))
    warnings = [alert for alert in fire(parse_rules(rules), recording) if alert.labels["severity"] == "warning"]
    assert _minutes(warnings) == [(1, 1, 2), (4, 4, 5)]


def test_an_evaluation_error_names_the_rule() -> None:
    text = "groups: [{name: g, rules: [{alert: Bad, expr: requests_total * on () requests_total}]}]"
    with pytest.raises(RulesError, match=r"alert 'Bad'.*many-to-many"):
        fire(parse_rules(text), load("errors-20"))


def test_an_interval_of_a_second_over_a_month_is_refused() -> None:
    with pytest.raises(RulesError, match="too short"):
        fire(parse_rules("groups: [{name: g, interval: 1s, rules: [{alert: A, expr: x}]}]"), load("quiet-month"))


def test_durations_are_read_as_prometheus_reads_them() -> None:
    [rule] = parse_rules(RULE + "    for: 1h30m\n    keep_firing_for: 0\n").alerts
    assert isinstance(rule, AlertRule) and (rule.hold, rule.keep_firing_for) == (5400.0, 0.0)


SEED = """
- alert: ErrorRateHigh
  expr: rate(requests_failed_total[5m]) / rate(requests_total[5m]) > 0.01
  severity: warning
"""
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SEED, "severity stands outside labels"),
        ("groups:\n- name: g\n  rules:" + SEED.replace("\n", "\n  "), "write labels: {severity: warning}"),
        (RULE + "    summary: x\n", "summary stands outside annotations"),
        (RULE + "    fro: 5m\n", "the field fro is unknown"),
        (RULE + "    for: 5\n", "is not a duration"),
        (RULE + "    for: 300y\n", "longer than"),
        (RULE + "    labels: {a-b: c}\n", "label name 'a-b'"),
        (RULE + "    annotations: {s: '{{ $lables.k }}'}\n", "unknown variable $lables"),
        (RULE.replace("x > 1", "x["), "not PromQL"),
        (RULE.replace("x > 1", "x[5m]"), "expr is a matrix"),
        (RULE + RULE[9:], "Two groups are named 'g'"),
        (RULE + "    expr: y\n", "there twice"),
        ("groups: 1", "must be a list"),
        ("groups: [{rules: []}]", "has no name"),
        ("groups: [{name: g, labels: {severity: warning}, rules: []}]", "from version 3 on"),
        ("groups: []\nrules: []", "unknown field 'rules'"),
        ("groups: [", "not YAML"),
        ("\0", "not YAML"),
        (BOMB, "too large once its aliases are written out"),
        ("&a [*a]", "too large"),
        ("[" * 5000, "too large"),
        ("x" * 100_000, "at most 60000 characters"),
    ],
)
def test_a_refusal_is_one_sentence_that_names_the_reason(text: str, words: str) -> None:
    with pytest.raises(RulesError) as refusal:
        parse_rules(text)
    assert words in str(refusal.value)
    assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)
