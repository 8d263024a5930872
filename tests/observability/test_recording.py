"""A recording is read back as it was packed, is read-only, and is told as OpenMetrics text."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from shared.observability.recording import (
    RECORDINGS,
    Column,
    Recording,
    Series,
    load,
    names,
    open_metrics,
    pack,
    unpack,
)


def packed(**changes: object) -> bytes:
    what: dict = {
        "name": "small", "title": "A small one", "interval": 30, "start": 1000, "onset": None, "recovery": None,
        "series": [
            Column({"__name__": "b_bucket", "le": "1.0"}, (0,), True),
            Column({"__name__": "b_bucket", "le": "+Inf"}, (0, 1), True),
            Column({"__name__": "g"}, (2,), False, 0.5, ((1, 3),)),
        ],
        "columns": np.array([[1, 2, 3, 4, 5], [10, 0, 0, 0, 1], [7, 7, 7, 300, 70_000]]),
        "restarts": [2], "missed": np.array([0, 0, 0, 1, 0], bool),
    }  # fmt: skip
    return pack(**{**what, **changes})


def test_counters_run_and_begin_again_at_a_restart() -> None:
    below, everything, _ = unpack(packed()).series
    np.testing.assert_array_equal(below.values, [1, 3, 3, np.nan, 12])
    np.testing.assert_array_equal(everything.values, [11, 13, 3, np.nan, 13])


def test_a_second_restart_begins_again_too() -> None:
    below, *_ = unpack(packed(restarts=[2, 4])).series
    np.testing.assert_array_equal(below.values, [1, 3, 3, np.nan, 5])


def test_gauges_have_units_and_absent_ranges() -> None:
    gauge = unpack(packed()).series[2]
    np.testing.assert_array_equal(gauge.values, [3.5, np.nan, np.nan, np.nan, 35_000])


def test_equal_recordings_have_equal_bytes() -> None:
    assert packed() == packed()
    assert packed() != packed(start=1030)


def test_times_are_evenly_spaced_from_the_start() -> None:
    assert unpack(packed()).times.tolist() == [1000, 1030, 1060, 1090, 1120]


def test_what_is_loaded_cannot_be_changed() -> None:
    recording = unpack(packed())
    for array in (recording.times, *(one.values for one in recording.series)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_an_unknown_name_is_told_with_those_that_exist() -> None:
    with pytest.raises(KeyError, match=r"no recording '\.\./x'; there are .*healthy"):
        load("../x")


def test_a_recording_is_loaded_once() -> None:
    assert load("healthy") is load("healthy")


def test_all_files_together_are_small_and_hold_no_dates() -> None:
    files = list(RECORDINGS.glob("*.npz"))
    assert len(files) == len(names()) >= 8
    assert sum(file.stat().st_size for file in files) <= 2_000_000
    for file in files:
        with zipfile.ZipFile(file) as archive:
            assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_open_metrics_declares_families_and_leaves_gaps_out() -> None:
    assert list(open_metrics(unpack(packed()), shift=60)) == [
        "# TYPE b histogram",
        'b_bucket{le="1.0"} 1.0 1060.000',
        'b_bucket{le="1.0"} 3.0 1090.000',
        'b_bucket{le="1.0"} 3.0 1120.000',
        'b_bucket{le="1.0"} 12.0 1180.000',
        'b_bucket{le="+Inf"} 11.0 1060.000',
        'b_bucket{le="+Inf"} 13.0 1090.000',
        'b_bucket{le="+Inf"} 3.0 1120.000',
        'b_bucket{le="+Inf"} 13.0 1180.000',
        "# TYPE g gauge",
        "g{} 3.5 1060.000",
        "g{} 35000.0 1180.000",
        "# EOF",
    ]


def test_open_metrics_escapes_label_values_and_names_counters_without_total() -> None:
    values = np.array([1.0])
    awkward = Series({"__name__": "jobs_total", "path": 'C:\\a "b"\né'}, values)
    recording = Recording("one", "One", 30.0, np.array([0.0]), None, None, (awkward,))
    assert list(open_metrics(recording))[:2] == [
        "# TYPE jobs counter",
        'jobs_total{path="C:\\\\a \\"b\\"\\né"} 1.0 0.000',
    ]
