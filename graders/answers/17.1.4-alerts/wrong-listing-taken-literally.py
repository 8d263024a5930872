# wrong: a bare list of rules with `severity` beside `expr`, as in many listings
# fails: prometheus-takes-the-rules, latency-pages-in-time, many-errors-page-in-time, few-errors-warn-only, traffic-warns-in-time, saturation-warns-and-never-pages, quiet-days-page-nobody, nothing-to-see-fires-nothing, alerts-resolve, thresholds-are-kept
# says: not a bare list of rules
# says: severity stands outside labels

# %% solution="alert-rules"
rules = """
- alert: HighLatencyForUsers
  expr: histogram_quantile(0.99, rate(request_duration_seconds_bucket[5m])) > 1.0
  for: 5m
- alert: HighErrorRate
  expr: rate(requests_failed_total[5m]) / rate(requests_total[5m]) > 0.01
  severity: warning
- alert: CriticalErrorRate
  expr: rate(requests_failed_total[5m]) / rate(requests_total[5m]) > 0.05
  severity: critical
"""
