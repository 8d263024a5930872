"""The recordings hold what the exercises promise: names, labels, spans, consistent counters, the incidents' figures."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from shared.observability.pipeline import BOUNDS, ERRORS, ROUTES, STAGES, main, plans, record
from shared.observability.recording import RECORDINGS, Recording, load, names, unpack

INCIDENTS = [name for name in names() if load(name).onset is not None]
WINDOW = 10  # scrapes: 5 min in an incident


def pick(recording: Recording, name: str, **labels: str) -> list[np.ndarray]:
    found = [
        one.values
        for one in recording.series
        if one.labels["__name__"] == name and all(one.labels[key] == text for key, text in labels.items())
    ]
    assert found, (name, labels)
    return found


def total(recording: Recording, name: str, **labels: str) -> np.ndarray:
    return np.sum(pick(recording, name, **labels), axis=0)


def increments(values: np.ndarray) -> np.ndarray:
    """Between samples that are there; what comes after a restart counts from 0."""
    there = values[~np.isnan(values)]
    steps = np.diff(there)
    return np.where(steps < 0, there[1:], steps)


def over_window(values: np.ndarray) -> np.ndarray:
    return values[WINDOW:] - values[:-WINDOW]


def during(recording: Recording) -> slice:
    """The places in `over_window` whose whole window lies in the disturbance."""
    assert recording.onset is not None and recording.recovery is not None
    first, last = (
        int((moment - recording.times[0]) // recording.interval) for moment in (recording.onset, recording.recovery)
    )
    return slice(first, last - WINDOW + 1)


def error_ratio(recording: Recording) -> np.ndarray:
    return over_window(total(recording, "requests_failed_total")) / over_window(total(recording, "requests_total"))


def rate(recording: Recording) -> np.ndarray:
    return over_window(total(recording, "requests_total")) / (WINDOW * recording.interval)


def quantile(recording: Recording, q: float) -> np.ndarray:
    """As histogram_quantile over the window, by straight lines within buckets."""
    bounds = [0.0, *BOUNDS]
    counts = np.array([
        np.zeros(len(recording.times) - WINDOW),
        *(over_window(total(recording, "request_duration_seconds_bucket", le=le(bound))) for bound in BOUNDS),
    ])  # fmt: skip
    out = []
    for column in counts.T:
        rank = q * column[-1]
        place = min(int(np.searchsorted(column[1:], rank)), len(BOUNDS) - 2) + 1
        share = (rank - column[place - 1]) / (column[place] - column[place - 1])
        out.append(bounds[place - 1] + share * (bounds[place] - bounds[place - 1]))
    return np.array(out)


def le(bound: float) -> str:
    return "+Inf" if bound == np.inf else str(bound)


def longest_run(mask: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return int(max(edges[1::2] - edges[::2], default=0))


def test_the_recordings_are_those_that_the_pipeline_makes() -> None:
    assert sorted(plan.name for plan in plans()) == sorted(names())
    for plan in plans():
        if plan.name != "quiet-month":
            again, kept = unpack(record(plan)), load(plan.name)
            assert (again.onset, again.recovery, again.title) == (kept.onset, kept.recovery, kept.title)
            np.testing.assert_array_equal(again.times, kept.times)
            assert [one.labels for one in again.series] == [one.labels for one in kept.series]
            for ours, theirs in zip(again.series, kept.series, strict=True):
                np.testing.assert_array_equal(ours.values, theirs.values)


def test_the_command_writes_the_same_bytes_again(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        assert main(["quiet-month", "healthy", "--to", str(tmp_path / folder)]) == 0
    for name in ("quiet-month", "healthy"):
        assert (tmp_path / "first" / f"{name}.npz").read_bytes() == (tmp_path / "second" / f"{name}.npz").read_bytes()


def test_the_command_refuses_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["heathy"])
    assert "there is no recording 'heathy'; there are slow-requests" in capsys.readouterr().err


@pytest.mark.parametrize("name", names())
def test_metrics_and_labels_are_those_of_the_course(name: str) -> None:
    recording = load(name)
    found = {
        (
            one.labels["__name__"],
            *sorted((k, v) for k, v in one.labels.items() if k not in ("__name__", "instance", "job")),
        )
        for one in recording.series
    }
    routes, stages = [("route", route) for route in ROUTES], [("stage", stage.name) for stage in STAGES]
    expected = {("process_cpu_seconds_total",), ("process_resident_memory_bytes",)}
    expected |= {("request_duration_seconds_bucket", ("le", le(bound)), route) for bound in BOUNDS for route in routes}
    for metric in ("request_duration_seconds_count", "request_duration_seconds_sum", "requests_total"):
        expected |= {(metric, route) for route in routes}
    expected |= {("requests_failed_total", route, ("type", kind)) for route in routes for kind in ERRORS}
    for metric in ("queue_size", "workers_active", "workers_max", "rejected_total"):
        expected |= {(f"worker_pool_{metric}", stage) for stage in stages}
    assert found == expected
    assert len(recording.series) == len(expected)
    assert {"1.0", "+Inf"} <= {one.labels["le"] for one in recording.series if "le" in one.labels}
    assert ERRORS == ("db", "timeout", "decode") and [stage for _, stage in stages] == [
        "load",
        "decode",
        "resize",
        "store",
    ]


@pytest.mark.parametrize("name", names())
def test_counters_agree_with_each_other(name: str) -> None:
    recording = load(name)
    bounds = np.array([0.0, *BOUNDS[:-1]])
    for route in ROUTES:
        buckets = np.array(
            [pick(recording, "request_duration_seconds_bucket", route=route, le=le(b))[0] for b in BOUNDS]
        )
        count, seconds, requests = (
            pick(recording, metric, route=route)[0]
            for metric in ("request_duration_seconds_count", "request_duration_seconds_sum", "requests_total")
        )
        failed = total(recording, "requests_failed_total", route=route)
        there = ~np.isnan(buckets[-1])
        assert (np.diff(buckets, axis=0)[:, there] >= 0).all()
        np.testing.assert_array_equal(buckets[-1][there], count[there])
        both = ~np.isnan(requests) & ~np.isnan(count)
        np.testing.assert_array_equal(requests[both], count[both])
        within = np.diff(buckets, axis=0, prepend=0)[:, there]
        assert ((within * bounds[:, None]).sum(axis=0) <= seconds[there] + 1).all()
        both = ~np.isnan(requests) & ~np.isnan(failed)
        assert (failed[both] <= requests[both]).all()
    for one in recording.series:
        values = one.values[~np.isnan(one.values)]
        assert (values >= 0).all()
    refused = total(recording, "worker_pool_rejected_total")
    timeouts = total(recording, "requests_failed_total", type="timeout")
    both = ~np.isnan(refused) & ~np.isnan(timeouts)
    assert (refused[both] <= timeouts[both]).all()


@pytest.mark.parametrize("name", names())
def test_tasks_wait_only_where_all_workers_are_active(name: str) -> None:
    recording = load(name)
    for stage in STAGES:
        active, most, queue = (
            pick(recording, f"worker_pool_{metric}", stage=stage.name)[0]
            for metric in ("workers_active", "workers_max", "queue_size")
        )
        there = ~np.isnan(active + most + queue)
        assert (active[there] <= most[there]).all()
        assert (active[there] == most[there])[queue[there] > 0].all()


@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_lasts_45_minutes_between_quiet_and_recovery(name: str) -> None:
    recording = load(name)
    assert recording.interval == 30 and recording.onset is not None and recording.recovery is not None
    assert recording.onset - recording.times[0] >= 3 * 3600
    assert recording.recovery - recording.onset == 45 * 60
    assert recording.times[-1] - recording.recovery >= 3600
    assert {recording.onset, recording.recovery} <= set(recording.times.tolist())
    quiet = slice(0, during(recording).start - WINDOW)
    assert quantile(recording, 0.99)[quiet].max() < 0.4
    assert error_ratio(recording)[quiet].max() < 0.005
    assert rate(recording)[quiet].min() > 45 and rate(recording)[quiet].max() < 55


# What the users' three figures are while the incident lasts: p99 in seconds, error ratio, requests a second.
WELL, NO_ERRORS, NORMAL = (0.2, 0.4), (0.0, 0.005), (45, 55)
FIGURES = {
    "slow-requests": ((2.5, 5.0), NO_ERRORS, NORMAL),
    "errors-20": (WELL, (0.18, 0.22), NORMAL),
    "errors-2": (WELL, (0.015, 0.025), NORMAL),
    "traffic-x4": (WELL, NO_ERRORS, (180, 220)),
    "stage-saturated": (WELL, NO_ERRORS, NORMAL),
    "slow-stage": ((1.5, 5.0), NO_ERRORS, (40, 50)),
    "near-slo": ((0.9, 1.0), NO_ERRORS, NORMAL),
    "traffic-32": (WELL, NO_ERRORS, (26, 39)),
    "traffic-12": (WELL, NO_ERRORS, (8, 20)),
    "few-slow": ((0.2, 0.45), NO_ERRORS, (120, 140)),
    "below-thresholds": ((0.9, 1.0), (0.035, 0.045), (120, 140)),
    "above-thresholds": ((1.2, 1.4), (0.07, 0.09), (165, 195)),
    "slow-route": (WELL, NO_ERRORS, NORMAL),
}


@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_is_what_its_title_says(name: str) -> None:
    recording = load(name)
    figures = quantile(recording, 0.99), error_ratio(recording), rate(recording)
    for figure, (low, high) in zip(figures, FIGURES[name], strict=True):
        assert low <= figure[during(recording)].min() and figure[during(recording)].max() <= high


@pytest.mark.parametrize(("name", "bottleneck"), [("stage-saturated", "store"), ("slow-stage", "resize")])
def test_the_bottleneck_is_the_one_stage_that_is_full_and_has_a_queue(name: str, bottleneck: str) -> None:
    recording = load(name)
    assert recording.onset is not None and recording.recovery is not None
    inside = (recording.times > recording.onset) & (recording.times <= recording.recovery)
    for stage in STAGES:
        queue = pick(recording, "worker_pool_queue_size", stage=stage.name)[0][inside]
        used = pick(recording, "worker_pool_workers_active", stage=stage.name)[0][inside] / stage.workers
        if stage.name == bottleneck:
            assert queue.min() >= 10 and used.min() == 1
        else:
            assert queue.max() == 0 and used.mean() < 0.3


def test_traffic_that_goes_away_leaves_no_requests_at_all() -> None:
    requests = total(load("zero-traffic"), "requests_total")
    assert rate(load("zero-traffic"))[0] > 45
    assert np.ptp(requests[300:]) == 0


def test_series_are_missing_one_after_the_other() -> None:
    recording = load("missing-series")
    metrics = {one.labels["__name__"] for one in recording.series}

    def absent(place: int) -> set[str]:
        return {one.labels["__name__"] for one in recording.series if np.isnan(one.values[place])}

    assert absent(100) == set()
    assert absent(200) == metrics
    assert absent(300) == {"requests_failed_total", "worker_pool_workers_max"}
    assert absent(500) == {"requests_total", "request_duration_seconds_bucket", "worker_pool_workers_active"}
    assert absent(700) == {"worker_pool_queue_size", "worker_pool_rejected_total"}


def test_no_two_recordings_lie_within_two_days_of_each_other() -> None:
    spans = sorted((load(name).times[0], load(name).times[-1]) for name in names())
    assert all(end + 2 * 86_400 < start for (_, end), (start, _) in pairwise(spans))


def test_the_quiet_month_has_days_weeks_restarts_and_lost_scrapes() -> None:
    month = load("quiet-month")
    assert month.interval == 60 and len(month.times) == 30 * 1440 and month.onset is None
    requests = pick(month, "requests_total", route="/full")[0]
    there = requests[~np.isnan(requests)]
    assert (np.diff(there) < 0).sum() >= 3
    assert 20 <= np.isnan(requests).sum() <= 200
    assert RECORDINGS.joinpath("quiet-month.npz").stat().st_size < 1_000_000


def _month_per_minute() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Requests, failures and answers over 1 s between samples of the month."""
    month = load("quiet-month")
    requests, failed = (
        np.sum([increments(values) for values in pick(month, metric)], axis=0)
        for metric in ("requests_total", "requests_failed_total")
    )
    fast = np.sum([increments(values) for values in pick(month, "request_duration_seconds_bucket", le="1.0")], axis=0)
    return requests, failed, requests - fast


def test_blips_of_the_quiet_month_are_high_and_no_longer_than_two_minutes() -> None:
    requests, failed, slow = _month_per_minute()
    for bad, threshold in ((failed, 0.01), (slow, 0.01)):
        share = bad / np.maximum(requests, 1)
        assert longest_run(share > threshold) == 2
        assert (share > 0.9).sum() >= 5
    assert longest_run(requests > 60 * 110) == 2


def test_hours_of_the_quiet_month_differ_by_three_at_most() -> None:
    requests, failed, slow = _month_per_minute()
    usual = np.where((failed + slow > 0.02 * requests) | (requests > 60 * 110), np.nan, requests)
    hours = usual[: len(usual) // 60 * 60].reshape(-1, 60)
    means = np.nanmedian(hours, axis=1) / 60
    assert 2 < means.max() / means.min() < 3
    assert 45 < means.mean() < 55
