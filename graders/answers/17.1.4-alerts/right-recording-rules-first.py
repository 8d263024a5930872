# right: recording rules by name level:metric:operations, alerts that only compare them

# %% solution="alert-rules"
rules = """
groups:
  - name: request-records
    interval: 15s
    rules:
      - record: job:requests:rate5m
        expr: sum by (job) (rate(requests_total[5m]))
      - record: job:requests_failed:ratio_rate5m
        expr: |
          sum by (job) (rate(requests_failed_total[5m]))
            /
          job:requests:rate5m
      - record: job:request_duration_seconds:p99_rate5m
        expr: histogram_quantile(0.99, sum by (job, le) (rate(request_duration_seconds_bucket[5m])))
      - record: stage:worker_pool:utilisation
        expr: worker_pool_workers_active / worker_pool_workers_max
  - name: request-alerts
    interval: 30s
    rules:
      - alert: LatencyOverSLO
        expr: job:request_duration_seconds:p99_rate5m > 1.0
        for: 8m
        labels: {severity: critical, signal: latency}
        annotations:
          summary: "p99 of {{ $labels.job }} is {{ $value | humanizeDuration }}"
      - alert: ErrorRatio
        expr: job:requests_failed:ratio_rate5m > 0.05
        for: 8m
        labels: {severity: critical, signal: errors}
        annotations:
          summary: "{{ $value | humanizePercentage }} fail"
      - alert: ErrorRatio
        expr: job:requests_failed:ratio_rate5m > 0.01 <= 0.05
        for: 8m
        labels: {severity: warning, signal: errors}
      - alert: Saturated
        expr: avg_over_time(stage:worker_pool:utilisation[5m]) > 0.9
        for: 10m
        labels: {severity: warning, signal: saturation}
        annotations:
          summary: "{{ $labels.stage }} is full"
      - alert: Traffic
        expr: job:requests:rate5m > 3 * avg_over_time(job:requests:rate5m[1h] offset 20m)
        for: 7m
        labels: {severity: warning, signal: traffic}
"""
