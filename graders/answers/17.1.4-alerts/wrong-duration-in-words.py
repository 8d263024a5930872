# wrong: `for: 8 min` is no duration of Prometheus
# fails: prometheus-takes-the-rules, latency-pages-in-time, many-errors-page-in-time, few-errors-warn-only, traffic-warns-in-time, saturation-warns-and-never-pages, quiet-days-page-nobody, nothing-to-see-fires-nothing, alerts-resolve, thresholds-are-kept
# says: is not a duration

# %% solution="alert-rules"
rules = """
groups:
  - name: image-pipeline
    rules:
      - alert: SlowForUsers
        expr: histogram_quantile(0.99, sum by (le) (rate(request_duration_seconds_bucket[5m]))) > 1
        for: 8 min
        labels: {severity: critical, signal: latency}
      - alert: ManyErrors
        expr: sum(rate(requests_failed_total[5m])) / sum(rate(requests_total[5m])) > 0.05
        for: 8 min
        labels: {severity: critical, signal: errors}
      - alert: SomeErrors
        expr: sum(rate(requests_failed_total[5m])) / sum(rate(requests_total[5m])) > 0.01
        for: 8 min
        labels: {severity: warning, signal: errors}
      - alert: StageFull
        expr: worker_pool_workers_active / worker_pool_workers_max > 0.95
        for: 10m
        labels: {severity: warning, signal: saturation}
      - alert: MuchTraffic
        expr: sum(rate(requests_total[5m])) > 150
        for: 8 min
        labels: {severity: warning, signal: traffic}
"""
