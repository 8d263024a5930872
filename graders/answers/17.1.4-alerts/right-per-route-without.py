# right: per route, with `without` on both sides of the ratio

# %% solution="alert-rules"
rules = """
groups:
  - name: per-route
    rules:
      - alert: RouteIsSlow
        expr: >
          histogram_quantile(0.99,
            sum without (instance, job) (rate(request_duration_seconds_bucket[4m]))) > 1
        for: 7m
        labels: {severity: critical, signal: latency}
        annotations: {summary: "{{ $labels.route }} is slow"}
      - alert: RouteFails
        expr: >
          sum without (type) (rate(requests_failed_total[4m])) / rate(requests_total[4m]) > 0.05
        for: 7m
        labels: {severity: critical, signal: errors}
      - alert: RouteFailsSometimes
        expr: >
          sum without (type) (rate(requests_failed_total[4m])) / rate(requests_total[4m]) > 0.01
            unless sum without (type) (rate(requests_failed_total[4m])) / rate(requests_total[4m]) > 0.05
        for: 7m
        labels: {severity: warning, signal: errors}
      - alert: StageIsFull
        expr: sum without (instance, job) (worker_pool_workers_max - worker_pool_workers_active) < 1
        for: 12m
        labels: {severity: warning, signal: saturation}
      - alert: RouteIsBusy
        expr: rate(requests_total[4m]) > 3 * avg_over_time(rate(requests_total[4m])[2h:2m] offset 12m)
        for: 7m
        labels: {severity: warning, signal: traffic}
"""
