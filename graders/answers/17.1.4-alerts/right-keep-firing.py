# right: short windows and `for`, and keep_firing_for against flapping

# %% solution="alert-rules"
rules = """
groups:
  - name: image-pipeline
    rules:
      - alert: SlowForUsers
        expr: histogram_quantile(0.99, sum by (le) (rate(request_duration_seconds_bucket[3m]))) > 1
        for: 6m
        keep_firing_for: 10m
        labels: {severity: critical, signal: latency}
      - alert: ManyErrors
        expr: sum(rate(requests_failed_total[3m])) / sum(rate(requests_total[3m])) > 0.05
        for: 6m
        keep_firing_for: 10m
        labels: {severity: critical, signal: errors}
      - alert: SomeErrors
        expr: sum(rate(requests_failed_total[3m])) / sum(rate(requests_total[3m])) > 0.01
        for: 6m
        keep_firing_for: 10m
        labels: {severity: warning, signal: errors}
      - alert: StageFull
        expr: worker_pool_workers_active / worker_pool_workers_max > 0.95
        for: 10m
        keep_firing_for: 10m
        labels: {severity: warning, signal: saturation}
      - alert: MuchTraffic
        expr: sum(rate(requests_total[3m])) > 150
        for: 6m
        keep_firing_for: 10m
        labels: {severity: warning, signal: traffic}
"""
