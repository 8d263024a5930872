# right: burn rates of the error budget over a long and a short window

# %% solution="alert-rules"
rules = """
groups:
  - name: burn
    rules:
      - record: requests:bad:ratio_rate2m
        expr: sum(rate(requests_failed_total[2m])) / sum(rate(requests_total[2m]))
      - record: requests:bad:ratio_rate10m
        expr: sum(rate(requests_failed_total[10m])) / sum(rate(requests_total[10m]))
      - record: requests:late:ratio_rate2m
        expr: >
          1 - sum(rate(request_duration_seconds_bucket{le="1.0"}[2m]))
            / sum(rate(request_duration_seconds_count[2m]))
      - record: requests:late:ratio_rate10m
        expr: >
          1 - sum(rate(request_duration_seconds_bucket{le="1.0"}[10m]))
            / sum(rate(request_duration_seconds_count[10m]))
      - alert: LatencyBudgetBurns
        expr: requests:late:ratio_rate10m > 0.01 and requests:late:ratio_rate2m > 0.01
        for: 5m
        labels: {severity: critical, signal: latency}
      - alert: ErrorBudgetBurnsFast
        expr: requests:bad:ratio_rate10m > 50 * 0.001 and requests:bad:ratio_rate2m > 50 * 0.001
        for: 5m
        labels: {severity: critical, signal: errors}
      - alert: ErrorBudgetBurns
        expr: requests:bad:ratio_rate10m > 10 * 0.001 and requests:bad:ratio_rate2m > 10 * 0.001
        for: 5m
        labels: {severity: warning, signal: errors}
      - alert: StageSaturated
        expr: min_over_time(worker_pool_queue_size[10m]) > 20
        labels: {severity: warning, signal: saturation}
      - alert: TrafficJump
        expr: sum(rate(requests_total[5m])) > 3 * sum(rate(requests_total[5m] offset 1h))
        for: 6m
        keep_firing_for: 5m
        labels: {severity: warning, signal: traffic}
"""
