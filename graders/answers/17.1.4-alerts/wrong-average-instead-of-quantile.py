# wrong: the mean answer time: 5 % at 3.5 s lift it to 0.3 s
# fails: latency-pages-in-time
# says: none fires in the whole incident

# %% solution="alert-rules"
rules = """
groups:
  - name: image-pipeline
    rules:
      - alert: SlowForUsers
        expr: sum(rate(request_duration_seconds_sum[5m])) / sum(rate(request_duration_seconds_count[5m])) > 1
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
