"""The course's alert rules: they page for what users feel, warn of what may become that, and sleep through blips.

Invariant: deploy/prometheus/rules.yml holds `RULES` (`python -m shared.observability.alert_rules` writes it). An alert
needs its condition for longer than a blip of two minutes can keep it: `for` is longer than window + blip.

The four signals, and symptoms before causes: B. Beyer et al., "Site Reliability Engineering" (2016), chapter 6;
alerts on ratios and their windows: "The Site Reliability Workbook" (2018), chapter 5.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

__all__ = ["RULES", "main"]

RULES = """\
# Exercise 17.1.4. A 5 min window sees a blip of 2 min for 7 min: `for: 8m` sleeps through it.
groups:
  - name: image-pipeline  # one group: its rules run in order, so each alert sees what was recorded at its own instant
    rules:
      - record: requests:rate5m
        expr: sum(rate(requests_total[5m]))
      - record: requests:error_ratio:rate5m
        expr: sum(rate(requests_failed_total[5m])) / requests:rate5m
      - record: request_duration_seconds:p99:rate5m
        expr: histogram_quantile(0.99, sum by (le) (rate(request_duration_seconds_bucket[5m])))
      - record: stage:worker_pool_utilisation:avg10m
        expr: avg_over_time(worker_pool_workers_active[10m]) / worker_pool_workers_max

      - alert: LatencyOverSLO
        expr: request_duration_seconds:p99:rate5m > 1.0
        for: 8m
        labels: {severity: critical, signal: latency}
        annotations:
          summary: "p99 is {{ $value | humanizeDuration }}, the SLO is 1 s"
          runbook: "Which stage queues? If one is saturated: add workers or shed load. If none: look at what it calls."

      - alert: ErrorsCritical
        expr: requests:error_ratio:rate5m > 0.05
        for: 8m
        labels: {severity: critical, signal: errors}
        annotations:
          summary: "{{ $value | humanizePercentage }} of the requests fail"
          runbook: "Which type leads (db, timeout, decode)? What was deployed last? Roll back first, understand later."

      - alert: ErrorsElevated
        expr: requests:error_ratio:rate5m > 0.01
        for: 8m
        labels: {severity: warning, signal: errors}
        annotations:
          summary: "{{ $value | humanizePercentage }} of the requests fail"

      - alert: StageSaturated
        expr: stage:worker_pool_utilisation:avg10m > 0.95
        for: 5m
        labels: {severity: warning, signal: saturation}
        annotations:
          summary: "{{ $labels.stage }} has had no free worker for 10 min"

      - alert: TrafficUnusual
        expr: requests:rate5m > 3 * avg_over_time(requests:rate5m[2h] offset 15m)
        for: 8m
        labels: {severity: warning, signal: traffic}
        annotations:
          summary: "{{ $value | humanize }} requests/s, over three times those of the last two hours"
"""


def main(arguments: list[str] | None = None) -> int:
    """Write the rules to deploy/prometheus/rules.yml, or to `--to`."""
    deployed = Path(__file__).resolve().parents[2] / "deploy" / "prometheus" / "rules.yml"
    parser = argparse.ArgumentParser(prog="python -m shared.observability.alert_rules", description=main.__doc__)
    parser.add_argument("--to", type=Path, default=deployed, help="the file to write")
    file = parser.parse_args(arguments).to
    file.write_text(RULES, encoding="utf-8")
    print(f"{len(RULES):,} characters  {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
