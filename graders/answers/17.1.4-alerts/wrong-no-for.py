# wrong: no `for` at all: fires with the first bad scrape and on every blip
# fails: many-errors-page-in-time, quiet-days-page-nobody
# says: nothing to fire in the first minute
# says: fires 0.5 min after the onset

# %% solution="alert-rules"
rules = """
groups:
  - name: image-pipeline
    rules:
      - alert: SlowForUsers
        expr: histogram_quantile(0.99, sum by (le) (rate(request_duration_seconds_bucket[5m]))) > 1
        labels: {severity: critical, signal: latency}
      - alert: ManyErrors
        expr: sum(rate(requests_failed_total[5m])) / sum(rate(requests_total[5m])) > 0.05
        labels: {severity: critical, signal: errors}
      - alert: SomeErrors
        expr: sum(rate(requests_failed_total[5m])) / sum(rate(requests_total[5m])) > 0.01
        labels: {severity: warning, signal: errors}
      - alert: StageFull
        expr: worker_pool_workers_active / worker_pool_workers_max > 0.95
        for: 10m
        labels: {severity: warning, signal: saturation}
      - alert: MuchTraffic
        expr: sum(rate(requests_total[5m])) > 150
        labels: {severity: warning, signal: traffic}
"""
