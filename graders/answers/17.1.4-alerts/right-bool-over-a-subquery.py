# right: no `for`: the share of the last minutes in which the condition held, by `> bool` in a subquery

# %% solution="alert-rules"
rules = """
groups:
  - name: image-pipeline
    rules:
      - alert: SlowForUsers
        expr: |
          avg_over_time((
            histogram_quantile(0.99, sum by (le) (rate(request_duration_seconds_bucket[2m]))) > bool 1
          )[9m:1m]) > 0.7
        labels: {severity: critical, signal: latency}
      - alert: ErrorsPage
        expr: |
          avg_over_time((
            sum(rate(requests_failed_total[2m])) / sum(rate(requests_total[2m])) > bool 0.05
          )[9m:1m]) > 0.7
        labels: {severity: critical, signal: errors}
      - alert: Errors
        expr: |
          (
            avg_over_time((
              sum(rate(requests_failed_total[2m])) / sum(rate(requests_total[2m])) > bool 0.01
            )[9m:1m]) > 0.7
          ) unless on () ALERTS{severity="critical", alertstate="firing"}
        labels: {severity: warning, signal: errors}
      - alert: Saturated
        expr: avg_over_time((worker_pool_workers_active == bool worker_pool_workers_max)[12m:30s]) > 0.9
        labels: {severity: warning, signal: saturation}
      - alert: Traffic
        expr: avg_over_time((sum(rate(requests_total[2m])) > bool 3 * 50)[9m:1m]) > 0.7
        labels: {severity: warning, signal: traffic}
"""
