# right: collapsed rows that hold their panels; the lights lie open above; quantiles per route; one query per stage

# %% solution="dashboard"
QUEUE = 'worker_pool_queue_size{stage="%s"}'


def build_dashboard() -> Dashboard:
    prom = DataSourceRef(type_val="prometheus", uid="prometheus")

    def panel(kind, title, *exprs, **more):
        built = kind.Panel().title(title).datasource(prom)
        targets = [prometheus.Dataquery().expr(expr).range() if not more else prometheus.Dataquery().expr(expr).instant() for expr in exprs]
        return built.targets(targets)

    def light(title, expr, base, *steps):
        thresholds = [Threshold(color=base), *(Threshold(color=colour, value=value) for value, colour in steps)]
        one = panel(stat, title, expr, instant=True).color_mode(BigValueColorMode.BACKGROUND).span(8)
        return one.thresholds(dashboard.ThresholdsConfig().steps(thresholds).mode(ThresholdsMode.ABSOLUTE))

    failed, total = "sum(rate(requests_failed_total[5m]))", "sum(rate(requests_total[5m]))"
    buckets = "sum by (route, le) (rate(request_duration_seconds_bucket[5m]))"
    quantiles = [f"histogram_quantile({q}, {buckets})" for q in ("0.5", "0.9", "0.99")]
    used = dashboard.Row("Use").with_panel(panel(timeseries, "Queues", *(QUEUE % s for s in ("load", "decode", "resize", "store"))))
    used.with_panel(panel(timeseries, "Workers", "sum(worker_pool_workers_active)", "sum(worker_pool_workers_max)"))
    used.with_panel(panel(timeseries, "CPU", "sum(rate(process_cpu_seconds_total[$__rate_interval]))"))
    used.with_panel(panel(timeseries, "Memory", "process_resident_memory_bytes / 2^20"))
    slow = dashboard.Row("Latency").collapsed(True)
    slow.with_panel(panel(heatmap, "Heatmap", "sum by (le) (rate(request_duration_seconds_bucket[$__rate_interval]))"))
    slow.with_panel(panel(timeseries, "Quantiles", *quantiles))
    fails = dashboard.Row("Errors").with_panel(panel(timeseries, "By type", "sum by (type) (rate(requests_failed_total[5m]))"))
    fails.with_panel(panel(table, "Top", "topk(5, sum by (route, type) (rate(requests_failed_total[15m])))", instant=True))
    stream = loki.Dataquery().expr('{level="error"}')
    fails.with_panel(logs.Panel().title("Log").datasource(DataSourceRef(uid="loki")).with_target(stream))
    return (
        dashboard.Dashboard("Collapsed")
        .with_panel(light("p99", f"max({quantiles[2]})", "green", (0.6, "yellow"), (1, "red")))
        .with_panel(light("Errors", f"1 - ({total} - {failed}) / {total}", "green", (0.01, "yellow"), (0.05, "red")))
        .with_panel(light("Traffic", f"round({total})", "red", (25, "yellow"), (40, "green")))
        .with_row(used)
        .with_row(slow)
        .with_row(fails)
        .build()
    )
