# wrong: errors over the last hour: a 20 % outage is 5 % of that only after a quarter of an hour
# fails: many-errors-page-in-time, few-errors-warn-only, quiet-days-page-nobody, alerts-resolve
# says: pending from 15 min on and fires 23 min after the onset

# %% solution="alert-rules"
rules = """
groups:
  - name: image-pipeline
    rules:
      - alert: SlowForUsers
        expr: histogram_quantile(0.99, sum by (le) (rate(request_duration_seconds_bucket[5m]))) > 1
        for: 8m
        labels: {severity: critical, signal: latency}
      - alert: ManyErrors
        expr: sum(rate(requests_failed_total[1h])) / sum(rate(requests_total[1h])) > 0.05
        for: 8m
        labels: {severity: critical, signal: errors}
      - alert: SomeErrors
        expr: sum(rate(requests_failed_total[1h])) / sum(rate(requests_total[1h])) > 0.01
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
