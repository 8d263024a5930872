# wrong: `le="1"` where the label says "1.0": labels are text
# fails: latency-pages-in-time
# says: none fires

# %% solution="alert-rules"
rules = """
groups:
  - name: image-pipeline
    rules:
      - alert: SlowForUsers
        expr: 1 - sum(rate(request_duration_seconds_bucket{le="1"}[5m])) / sum(rate(request_duration_seconds_count[5m])) > 0.01
        for: 8m
        labels: {severity: critical, signal: latency}
      - alert: ManyErrors
        expr: sum(rate(requests_failed_total[5m])) / sum(rate(requests_total[5m])) > 0.05
        for: 8m
        labels: {severity: critical, signal: errors}
      - alert: SomeErrors
        expr: sum(rate(requests_failed_total[5m])) / sum(rate(requests_total[5m])) > 0.01
        for: 8m
        labels: {severity: warning, signal: errors}
      - alert: StageFull
        expr: worker_pool_workers_active / worker_pool_workers_max > 0.95
        for: 10m
        labels: {severity: warning, signal: saturation}
      - alert: MuchTraffic
        expr: sum(rate(requests_total[5m])) > 150
        for: 8m
        labels: {severity: warning, signal: traffic}
"""
