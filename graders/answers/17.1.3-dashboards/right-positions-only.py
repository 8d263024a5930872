# right: no row panels at all: every panel has its place in the grid; stat and gauge; without() for by()

# %% solution="dashboard"
def build_dashboard() -> Dashboard:
    from grafana_foundation_sdk.models.dashboard import GridPos

    board = dashboard.Dashboard("Pipeline")

    def add(panel, x, y, w, *exprs, uid="prometheus"):
        for number, expr in enumerate(exprs):
            target = loki.Dataquery() if uid == "loki" else prometheus.Dataquery()
            panel.with_target(target.expr(expr).ref_id("ABCD"[number]).datasource(DataSourceRef(uid=uid)))
        board.with_panel(panel.grid_pos(GridPos(x=x, y=y, w=w, h=7)))

    def coloured(panel, *steps):
        return panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(list(steps)))

    green, yellow, red = ((lambda colour: lambda value=None: Threshold(value, colour))(c) for c in ("green", "yellow", "red"))
    background = stat.Panel().color_mode(BigValueColorMode.BACKGROUND_SOLID)
    rate_of_buckets = "sum without (route, instance, job) (rate(request_duration_seconds_bucket[2m]))"
    add(coloured(background.title("p99"), green(), yellow(0.8), red(1)), 0, 0, 8, f"histogram_quantile(.99, {rate_of_buckets})")
    add(
        coloured(gauge.Panel().title("errors").unit("percentunit").min(0).max(0.1), green(0), yellow(0.01), red(0.05)),
        8, 0, 8, "sum(increase(requests_failed_total[10m])) / sum(increase(requests_total[10m]))",
    )
    add(
        coloured(gauge.Panel().title("traffic"), red(0), yellow(25), green(40)),
        16, 0, 8, 'sum(rate(request_duration_seconds_bucket{le="+Inf"}[5m]))',
    )
    add(timeseries.Panel().title("waiting"), 0, 7, 6, "worker_pool_queue_size")
    add(
        timeseries.Panel().title("busy share"), 6, 7, 6,
        "avg_over_time(worker_pool_workers_active[5m]) / on (stage) worker_pool_workers_max",
    )
    add(timeseries.Panel().title("cpu"), 12, 7, 6, "irate(process_cpu_seconds_total[5m])")
    add(gauge.Panel().title("memory"), 18, 7, 6, "sum(process_resident_memory_bytes)")
    add(heatmap.Panel().title("latencies"), 0, 14, 12, "sum by (le) (increase(request_duration_seconds_bucket[$__interval]))")
    add(
        timeseries.Panel().title("percentiles"), 12, 14, 12,
        f'label_replace(histogram_quantile(0.5, {rate_of_buckets}), "q", "50", "", "") or '
        f'label_replace(histogram_quantile(0.9, {rate_of_buckets}), "q", "90", "", "") or '
        f'label_replace(histogram_quantile(0.99, {rate_of_buckets}), "q", "99", "", "")',
    )
    add(timeseries.Panel().title("errors by type"), 0, 21, 8, "sum without (route) (rate(requests_failed_total[5m]))")
    add(table.Panel().title("top 5"), 8, 21, 8)
    add(logs.Panel().title("log"), 16, 21, 8, '{app="pipeline"}', uid="loki")
    built = board.build()
    top = prometheus.Dataquery().expr("topk(5, sum by (type) (increase(requests_failed_total[1h])))").instant()
    built.panels[10].targets = [top.datasource(DataSourceRef(uid="prometheus")).build()]
    return built
