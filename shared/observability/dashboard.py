"""The image pipeline's dashboard as code: is it well in ten seconds, what is wrong in two minutes.

Invariant: `deploy/grafana/dashboards/image-pipeline.json` is what `python -m shared.observability.dashboard` writes.
Row 1 is RED (T. Wilkie): rate, errors, duration, as colours. Row 2 is USE (B. Gregg): how busy each resource is, and
what waits for it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from grafana_foundation_sdk.builders import common, heatmap, logs, loki, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueColorMode
from grafana_foundation_sdk.models.dashboard import Dashboard, DataSourceRef, Threshold, ThresholdsMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = ["FILE", "build_dashboard", "main", "text"]

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards" / "image-pipeline.json"

Steps = list[tuple[float | None, str]]
"""(from this value on, colour), ascending; None is the base."""

_PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")
_LOKI = DataSourceRef(type_val="loki", uid="loki")
_BUCKETS = "sum by (le) (rate(request_duration_seconds_bucket[$__rate_interval]))"
_ERROR_RATIO = "sum(rate(requests_failed_total[$__rate_interval])) / sum(rate(requests_total[$__rate_interval]))"


def build_dashboard() -> Dashboard:
    """The dashboard: rows of 3, 4, 2 and 3 panels, from the question to its answer."""
    board = builders.Dashboard("Image pipeline").uid("image-pipeline").tags(["course"]).time("now-1h", "now")
    board.refresh("30s").editable()
    for title, panels in _rows():
        board.with_row(builders.Row(title))
        for panel in panels:
            board.with_panel(panel.span(24 // len(panels)).height(4 if title == "Is it well?" else 8))
    built = board.build()
    for number, panel in enumerate(built.panels or (), 1):
        panel.id_val = number  # Grafana tells panels apart by it
    return built


def _rows() -> list[tuple[str, list]]:
    well = [
        _light("p99 latency", f"histogram_quantile(0.99, {_BUCKETS})", "s", _rising(0.5, 1.0)),
        _light("Error ratio", _ERROR_RATIO, "percentunit", _rising(0.01, 0.05)),
        _light(
            "Throughput",
            "sum(rate(requests_total[$__rate_interval]))",
            "reqps",
            [(None, "red"), (25.0, "yellow"), (40.0, "green")],
        ),
    ]
    resources = [
        _graph("Queue size", "short", ("max by (stage) (worker_pool_queue_size)", "{{stage}}")),
        _graph(
            "Workers active, of the maximum",
            "percentunit",
            ("sum by (stage) (worker_pool_workers_active) / sum by (stage) (worker_pool_workers_max)", "{{stage}}"),
        ),
        _graph("CPU", "short", ("rate(process_cpu_seconds_total[$__rate_interval])", "cores")),
        _graph("Memory", "bytes", ("process_resident_memory_bytes", "resident")),
    ]
    rates = "sum by (le) (increase(request_duration_seconds_bucket[$__rate_interval]))"
    latencies = [
        heatmap.Panel()
        .title("Latency heatmap")
        .datasource(_PROMETHEUS)
        .with_target(_query(rates, "{{le}}").format(PromQueryFormat.HEATMAP)),
        _graph(
            "p50, p90, p99",
            "s",
            *((f"histogram_quantile({q}, {_BUCKETS})", f"p{100 * q:.0f}") for q in (0.5, 0.9, 0.99)),
        ),
    ]
    top = "topk(5, sum by (type, route) (rate(requests_failed_total[$__rate_interval])))"
    errors = [
        _graph(
            "Errors by type",
            "reqps",
            ("sum by (type) (rate(requests_failed_total[$__rate_interval]))", "{{type}}"),
        ),
        table.Panel()
        .title("Top 5 errors")
        .datasource(_PROMETHEUS)
        .with_target(_query(top).instant().format(PromQueryFormat.TABLE)),
        logs.Panel()
        .title("Recent errors")
        .datasource(_LOKI)
        .with_target(loki.Dataquery().ref_id("A").expr('{job="image-pipeline"} |= "ERROR"')),
    ]
    return [("Is it well?", well), ("What is full?", resources), ("How slow?", latencies), ("What fails?", errors)]


def _light(title: str, expr: str, unit: str, steps: Steps) -> stat.Panel:
    """A panel that is one colour."""
    thresholds = builders.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE)
    return (
        stat.Panel()
        .title(title)
        .unit(unit)
        .datasource(_PROMETHEUS)
        .with_target(_query(expr))
        .thresholds(thresholds.steps([Threshold(value=value, color=colour) for value, colour in steps]))
        .color_mode(BigValueColorMode.BACKGROUND)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def _rising(yellow: float, red: float) -> Steps:
    return [(None, "green"), (yellow, "yellow"), (red, "red")]


def _graph(title: str, unit: str, *queries: tuple[str, str]) -> timeseries.Panel:
    panel = timeseries.Panel().title(title).unit(unit).datasource(_PROMETHEUS)
    for letter, (expr, legend) in zip("ABC", queries, strict=False):
        panel.with_target(_query(expr, legend).ref_id(letter))
    return panel


def _query(expr: str, legend: str = "") -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id("A").expr(expr).legend_format(legend)


def text() -> str:
    """The dashboard as JSON, as Grafana's provisioning reads it."""
    return json.dumps(build_dashboard(), cls=JSONEncoder, indent=2) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the dashboard for Grafana's provisioning, to `--to` or to its place in deploy/."""
    parser = argparse.ArgumentParser(prog="python -m shared.observability.dashboard", description=main.__doc__)
    parser.add_argument("--to", type=Path, default=FILE, help="the file to write")
    file: Path = parser.parse_args(arguments).to
    file.write_text(text())
    print(f"{file}: {len(text()):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
