"""A metric that crosses its threshold becomes a page at the webhook, and a resolved one when it falls again."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from shared.observability.recording import load

pytestmark = pytest.mark.needs("prometheus", "promtool", "alertmanager")

RULES = """
groups:
  - name: queue
    rules:
      - record: queue:waiting
        expr: sum(course_waiting_tasks)
      - alert: TooManyWait
        expr: queue:waiting > 100
        for: 400ms
        labels: {severity: critical, signal: latency}
        annotations: {summary: "{{ $value }} tasks wait"}
"""


@pytest.fixture
def waiting() -> tuple[Gauge, CollectorRegistry]:
    registry = CollectorRegistry()
    return Gauge("course_waiting_tasks", "Tasks that wait.", registry=registry), registry


def test_an_alert_fires_at_the_webhook_and_resolves_there(backends: Any, waiting: Any) -> None:
    gauge, registry = waiting
    gauge.set(3)

    def of_this_test(status: str) -> Any:
        return lambda alert: alert["labels"]["alertname"] == "TooManyWait" and alert["status"] == status

    with backends.expose(lambda: generate_latest(registry)), backends.rules(RULES):
        backends.eventually(lambda: backends.query("queue:waiting == 3"))
        assert backends.query('ALERTS{alertname="TooManyWait"}') == []

        gauge.set(250)
        page = backends.pages.wait_for(of_this_test("firing"), seconds=20)
        assert page["labels"] == {"alertname": "TooManyWait", "severity": "critical", "signal": "latency"}
        assert page["annotations"]["summary"] == "250 tasks wait"

        gauge.set(3)
        assert backends.pages.wait_for(of_this_test("resolved"), seconds=20)["startsAt"] == page["startsAt"]


def test_a_recorded_incident_can_be_queried(backends: Any) -> None:
    incident = load("errors-20")
    ratio = "sum(rate(requests_failed_total[5m])) / sum(rate(requests_total[5m]))"
    (before,) = backends.query(ratio, incident.onset)
    (during,) = backends.query(ratio, incident.recovery)
    assert float(before["value"][1]) < 0.01
    assert 0.18 < float(during["value"][1]) < 0.22


def test_what_prometheus_refuses_is_told(backends: Any) -> None:
    with pytest.raises(ValueError, match="parse error"):
        backends.query("sum(")
