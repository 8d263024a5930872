# right: no builders but the models themselves, filled in by hand; windows from 1 to 15 minutes

# %% solution="dashboard"
def build_dashboard() -> Dashboard:
    from grafana_foundation_sdk.models import dashboard as models
    from grafana_foundation_sdk.models import loki as loki_models
    from grafana_foundation_sdk.models import prometheus as prometheus_models
    from grafana_foundation_sdk.models import stat as stat_models

    def target(expr, **more):
        return prometheus_models.Dataquery(expr=expr, ref_id="A", **more)

    def panel(kind, title, *targets, uid="prometheus", steps=()):
        one = models.Panel(type_val=kind, title=title, datasource=DataSourceRef(type_val=uid, uid=uid), targets=list(targets))
        if steps:
            thresholds = models.ThresholdsConfig(
                mode=ThresholdsMode.ABSOLUTE, steps=[Threshold(value=value, color=colour) for value, colour in steps]
            )
            one.field_config = models.FieldConfigSource(defaults=models.FieldConfig(thresholds=thresholds))
            one.options = stat_models.Options(color_mode=BigValueColorMode.BACKGROUND)
        return one

    buckets = "sum by (le) (rate(request_duration_seconds_bucket[1m]))"
    ratio = "sum(rate(requests_failed_total[15m])) / sum(rate(requests_total[15m]))"
    lines = [
        [
            panel("stat", "Slow?", target(f"histogram_quantile(0.99, {buckets})"), steps=[(None, "green"), (0.9, "yellow"), (1.0, "red")]),
            panel("stat", "Broken?", target(ratio), steps=[(None, "green"), (0.01, "yellow"), (0.05, "red")]),
            panel("stat", "Alone?", target("sum(irate(requests_total[1m]))"), steps=[(None, "red"), (25.0, "yellow"), (40.0, "green")]),
        ],
        [
            panel("timeseries", "Queues", target("max_over_time(worker_pool_queue_size[5m])")),
            panel("timeseries", "Workers", target("100 * worker_pool_workers_active / worker_pool_workers_max")),
            panel("timeseries", "CPU", target("rate(process_cpu_seconds_total[$__interval])")),
            panel("timeseries", "Memory", target("process_resident_memory_bytes")),
        ],
        [
            panel("heatmap", "Heat", target("sum(increase(request_duration_seconds_bucket[5m])) by (le)")),
            panel("timeseries", "Quantiles", *(target(f"histogram_quantile({q}, {buckets})") for q in (0.5, 0.9, 0.99))),
        ],
        [
            panel("timeseries", "Errors", target("sum(rate(requests_failed_total[5m])) by (type)")),
            panel("piechart", "Top", target("topk(5, sum(increase(requests_failed_total[10m])) by (type))", instant=True)),
            panel("logs", "Log", loki_models.Dataquery(expr='{app="x"}', ref_id="A"), uid="loki"),
        ],
    ]
    for y, line in enumerate(lines):
        for x, one in enumerate(line):
            one.grid_pos = models.GridPos(x=x * (24 // len(line)), y=8 * y, w=24 // len(line), h=8)
    return Dashboard(title="By hand", panels=[one for line in reversed(lines) for one in line])
