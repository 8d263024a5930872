# right: a table of data and one loop, panels numbered; rows broken over several lines of the grid; $__range for the top 5

# %% solution="dashboard"
from grafana_foundation_sdk.builders import bargauge

STEPS = {
    "p99": [(None, "green"), (0.4, "yellow"), (1.0, "red")],
    "errors": [(None, "green"), (0.01, "yellow"), (0.05, "red")],
    "requests": [(None, "red"), (25, "yellow"), (40, "green")],
}
RATE = "rate({}[${{__rate_interval}}])"
FAILED, DONE = RATE.format("requests_failed_total"), RATE.format("requests_total")
SUM = "sum by (le) ({})".format(RATE.format("request_duration_seconds_bucket"))
TABLE = [
    ("Now", stat, "p99", [f"histogram_quantile(0.99, {SUM})"]),
    ("Now", stat, "errors", [f"(sum({FAILED}) or vector(0)) / sum({DONE})"]),
    ("Now", stat, "requests", [f"sum({DONE})"]),
    ("Resources", timeseries, "queued", ["avg by (stage) (worker_pool_queue_size)"]),
    ("Resources", timeseries, "workers", ["worker_pool_workers_active", "worker_pool_workers_max"]),
    ("Resources", timeseries, "cores", ["avg(irate(process_cpu_seconds_total[1m]))"]),
    ("Resources", timeseries, "bytes", ["avg(process_resident_memory_bytes)"]),
    ("Latency", heatmap, "buckets", [SUM]),
    ("Latency", timeseries, "quantiles", [f"histogram_quantile({q}, {SUM})" for q in (0.5, 0.9, 0.99)]),
    ("Errors", timeseries, "by type", [f"sum by (type) ({FAILED})"]),
    ("Errors", bargauge, "top", ["topk(5, sum by (type) (increase(requests_failed_total[$__range])))"]),
    ("Errors", logs, "lines", ['{job="pipeline"} |~ "(?i)error"']),
]


def build_dashboard() -> Dashboard:
    board, section = dashboard.Dashboard("From a table").time("now-3h", "now"), None
    for row, kind, title, exprs in TABLE:
        if row != section:
            board.with_row(dashboard.Row(row))
            section = row
        panel = kind.Panel().title(title).span(12).height(5)
        for ref, expr in zip("ABC", exprs):
            source = loki if kind is logs else prometheus
            target = source.Dataquery().ref_id(ref).expr(expr)
            panel.with_target(target.instant() if title == "top" else target)
        if kind is stat:
            steps = [Threshold(value=value, color=colour) for value, colour in STEPS[title]]
            panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
            panel.color_mode(BigValueColorMode.BACKGROUND)
            panel.reduce_options(common.ReduceDataOptions().calcs(["last"]))
        uid = "loki" if kind is logs else "prometheus"
        board.with_panel(panel.datasource(DataSourceRef(type_val=uid, uid=uid)))
    return board.build()
