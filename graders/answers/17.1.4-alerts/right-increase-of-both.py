# right: increase over the same window on both sides, and a group interval below the scrape's

# %% solution="alert-rules"
rules = """
groups:
  - name: image-pipeline
    interval: 10s
    rules:
      - alert: SlowForUsers
        expr: histogram_quantile(0.99, sum by (le) (rate(request_duration_seconds_bucket[5m]))) > 1
        for: 7m30s
        labels: {severity: critical, signal: latency}
      - alert: ManyErrors
        expr: sum(increase(requests_failed_total[5m])) / sum(increase(requests_total[5m])) > 0.05
        for: 7m30s
        labels: {severity: critical, signal: errors}
      - alert: SomeErrors
        expr: sum(increase(requests_failed_total[5m])) / sum(increase(requests_total[5m])) > 0.01
        for: 7m30s
        labels: {severity: warning, signal: errors}
      - alert: StageFull
        expr: worker_pool_workers_active / worker_pool_workers_max > 0.95
        for: 10m
        labels: {severity: warning, signal: saturation}
      - alert: MuchTraffic
        expr: sum(increase(requests_total[5m])) > 150 * 300
        for: 7m30s
        labels: {severity: warning, signal: traffic}
"""
