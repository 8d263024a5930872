# wrong: the mean of the p99 of each route: percentiles do not average
# fails: latency-turns-with-p99
# says: another quantity, whatever its colour

# %% solution="dashboard"
def build_dashboard() -> Dashboard:
    """Well or not in row 1; what is full, how slow, and what fails in the rows below."""
    metrics = DataSourceRef(type_val="prometheus", uid="prometheus")
    buckets = "sum by (le) (rate(request_duration_seconds_bucket[$__rate_interval]))"
    failed, total = "rate(requests_failed_total[$__rate_interval])", "rate(requests_total[$__rate_interval])"

    def query(expr, legend=""):
        return prometheus.Dataquery().expr(expr).legend_format(legend)

    def light(title, unit, expr, steps):
        thresholds = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE)
        return (
            stat.Panel()
            .title(title)
            .unit(unit)
            .with_target(query(expr))
            .thresholds(thresholds.steps([Threshold(value=value, color=colour) for value, colour in steps]))
            .color_mode(BigValueColorMode.BACKGROUND)
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        )

    def graph(title, unit, *queries):
        panel = timeseries.Panel().title(title).unit(unit)
        for letter, (expr, legend) in zip("ABC", queries, strict=False):
            panel.with_target(query(expr, legend).ref_id(letter))
        return panel

    rows = {
        "Is it well?": [
            light(
                "p99 latency",
                "s",
                "avg(histogram_quantile(0.99, sum by (route, le) (rate(request_duration_seconds_bucket[$__rate_interval]))))",
                [(None, "green"), (0.5, "yellow"), (1.0, "red")],
            ),
            light(
                "Error ratio",
                "percentunit",
                f"sum({failed}) / sum({total})",
                [(None, "green"), (0.01, "yellow"), (0.05, "red")],
            ),
            light("Throughput", "reqps", f"sum({total})", [(None, "red"), (25.0, "yellow"), (40.0, "green")]),
        ],
        "What is full?": [
            graph("Queue size", "short", ("max by (stage) (worker_pool_queue_size)", "{{stage}}")),
            graph(
                "Workers",
                "short",
                ("sum by (stage) (worker_pool_workers_active)", "{{stage}} active"),
                ("sum by (stage) (worker_pool_workers_max)", "{{stage}} max"),
            ),
            graph("CPU", "short", ("rate(process_cpu_seconds_total[$__rate_interval])", "cores")),
            graph("Memory", "bytes", ("process_resident_memory_bytes", "resident")),
        ],
        "How slow?": [
            heatmap.Panel().title("Latencies").with_target(query(buckets, "{{le}}").format("heatmap")),
            graph(
                "Percentiles",
                "s",
                *((f"histogram_quantile({q}, {buckets})", f"p{q * 100:g}") for q in (0.5, 0.9, 0.99)),
            ),
        ],
        "What fails?": [
            graph("Errors by type", "reqps", (f"sum by (type) ({failed})", "{{type}}")),
            table.Panel().title("Top 5 errors").with_target(
                query(f"topk(5, sum by (type, route) ({failed}))").instant().format("table")
            ),
            logs.Panel().title("Recent errors").with_target(
                loki.Dataquery().expr('{job="image-pipeline"} |= "ERROR"')
            ),
        ],
    }
    board = dashboard.Dashboard("Image pipeline").time("now-1h", "now").refresh("30s")
    for title, panels in rows.items():
        board.with_row(dashboard.Row(title))
        for panel in panels:
            source = DataSourceRef(type_val="loki", uid="loki") if isinstance(panel, logs.Panel) else metrics
            board.with_panel(panel.datasource(source).span(24 // len(panels)).height(6))
    return board.build()
