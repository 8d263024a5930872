# wrong: `rate[2m]` with `for: 2m` pages on blips
# fails: quiet-days-page-nobody
# says: 56 pages
# says: pending for 2 min

# %% solution="alert-rules"
rules = """
groups:
  - name: image-pipeline
    rules:
      - alert: SlowForUsers
        expr: histogram_quantile(0.99, sum by (le) (rate(request_duration_seconds_bucket[2m]))) > 1
        for: 2m
        labels: {severity: critical, signal: latency}
      - alert: ManyErrors
        expr: sum(rate(requests_failed_total[2m])) / sum(rate(requests_total[2m])) > 0.05
        for: 2m
        labels: {severity: critical, signal: errors}
      - alert: SomeErrors
        expr: sum(rate(requests_failed_total[2m])) / sum(rate(requests_total[2m])) > 0.01
        for: 2m
        labels: {severity: warning, signal: errors}
      - alert: StageFull
        expr: worker_pool_workers_active / worker_pool_workers_max > 0.95
        for: 10m
        labels: {severity: warning, signal: saturation}
      - alert: MuchTraffic
        expr: sum(rate(requests_total[2m])) > 150
        for: 2m
        labels: {severity: warning, signal: traffic}
"""
