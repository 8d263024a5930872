"""Recorded metrics of the image pipeline, as Prometheus would hold them, and their file format.

Invariant: what `load` returns is never changed: times and values are read-only arrays, so one recording serves every
thread. A file is a compressed .npz of small integers, read with numpy alone and without pickle.
"""

from __future__ import annotations

import functools
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["RECORDINGS", "Column", "Recording", "Series", "load", "names", "open_metrics", "pack", "unpack"]

RECORDINGS = Path(__file__).with_name("recordings")


@dataclass(frozen=True, eq=False)
class Series:
    """One time series: `labels` include "__name__"; `values` lie on the recording's grid, NaN for no sample."""

    labels: dict[str, str]
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Recording:
    """What was scraped: one sample every `interval` seconds at `times` (unix seconds, evenly spaced).

    The disturbance lies in (onset, recovery], both unix seconds: the sample at `onset` is the last quiet one. Both are
    None where nothing happens that a user would notice for more than two minutes.
    """

    name: str
    title: str
    interval: float
    times: np.ndarray
    onset: float | None
    recovery: float | None
    series: tuple[Series, ...]


@functools.lru_cache(maxsize=32)
def load(name: str) -> Recording:
    """The recording of that name. Raises KeyError, with the names that exist, for any other."""
    if name not in names():
        raise KeyError(f"There is no recording {name!r}; there are {', '.join(names())}.")
    return unpack((RECORDINGS / f"{name}.npz").read_bytes())


def names() -> tuple[str, ...]:
    """The names of all recordings, in alphabetical order."""
    return tuple(sorted(path.stem for path in RECORDINGS.glob("*.npz")))


def open_metrics(recording: Recording, *, shift: float = 0.0) -> Iterator[str]:
    """The lines of the recording in OpenMetrics text, every sample `shift` seconds later, for `promtool tsdb
    create-blocks-from openmetrics`."""
    families: dict[tuple[str, str], list[Series]] = {}
    histograms = {
        name.removesuffix("_bucket") for one in recording.series if (name := one.labels["__name__"]).endswith("_bucket")
    }
    for one in recording.series:
        families.setdefault(_family(one.labels["__name__"], histograms), []).append(one)
    stamps = [f"{moment:.3f}" for moment in (recording.times + shift).tolist()]
    for (family, kind), members in families.items():
        yield f"# TYPE {family} {kind}"
        for one in members:
            labels = ",".join(f'{key}="{_escaped(text)}"' for key, text in one.labels.items() if key != "__name__")
            head = f"{one.labels['__name__']}{{{labels}}}"
            for stamp, value in zip(stamps, one.values.tolist(), strict=True):
                if value == value:
                    yield f"{head} {value!r} {stamp}"
    yield "# EOF"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _family(name: str, histograms: set[str]) -> tuple[str, str]:
    """The name and type under which OpenMetrics declares the series `name`."""
    base, _, suffix = name.rpartition("_")
    if base in histograms and suffix in ("bucket", "sum", "count"):
        return base, "histogram"
    return (base, "counter") if suffix == "total" else (name, "gauge")


# The file. A column holds one small integer per scrape: a counter's increment since the scrape before, or a gauge's
# value. The buckets of a histogram, its count and requests_total are sums of the same columns.


@dataclass(frozen=True)
class Column:
    """How a series is made from columns: `unit` × the sum of `columns`, running since the last restart when `counter`;
    `absent` lists [first, end) ranges of scrapes without a sample."""

    labels: dict[str, str]
    columns: tuple[int, ...]
    counter: bool
    unit: float = 1.0
    absent: tuple[tuple[int, int], ...] = ()


def pack(
    name: str,
    title: str,
    interval: int,
    start: int,
    onset: int | None,
    recovery: int | None,
    series: list[Column],
    columns: np.ndarray,
    restarts: list[int],
    missed: np.ndarray,
) -> bytes:
    """The bytes of a recording's file, equal for equal arguments. `columns` is (column, scrape) of integers from 0 to
    2³² - 1; counters begin again at the scrapes in `restarts`; `missed` is true where a scrape brought nothing."""
    about = {
        "name": name,
        "title": title,
        "interval": interval,
        "start": start,
        "onset": onset,
        "recovery": recovery,
        "restarts": restarts,
        "series": [[one.labels, one.columns, one.counter, one.unit, one.absent] for one in series],
    }
    planes = columns.astype("<u4").view(np.uint8).reshape(*columns.shape, 4)
    arrays = {
        "about": np.frombuffer(json.dumps(about, separators=(",", ":")).encode(), np.uint8),
        "missed": np.packbits(missed),
        **{f"byte{place}": np.ascontiguousarray(planes[:, :, place]) for place in range(4)},
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for member, array in arrays.items():
            entry = zipfile.ZipInfo(f"{member}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr, entry.compress_type = 3, 0o644 << 16, zipfile.ZIP_DEFLATED
            content = io.BytesIO()
            np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
            archive.writestr(entry, content.getvalue(), compresslevel=9)
    return out.getvalue()


def unpack(data: bytes) -> Recording:
    """The recording in the bytes that `pack` made."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        about = json.loads(file["about"].tobytes())
        planes = [file[f"byte{place}"] for place in range(4)]
        scrapes = planes[0].shape[1]
        missed = np.unpackbits(file["missed"], count=scrapes).astype(bool)
    columns = sum(plane.astype(np.float64) * 256.0**place for place, plane in enumerate(planes))
    running = np.cumsum(columns, axis=1)
    for restart in about["restarts"]:
        running[:, restart:] -= running[:, restart - 1 : restart].copy()
    times = about["start"] + about["interval"] * np.arange(scrapes, dtype=np.float64)
    times.setflags(write=False)
    series = []
    for labels, members, counter, unit, absent in about["series"]:
        values = (running if counter else columns)[members].sum(axis=0) * unit
        if unit < 1:
            values = np.round(values, 6)
        values[missed] = np.nan
        for first, end in absent:
            values[first:end] = np.nan
        values.setflags(write=False)
        series.append(Series(labels, values))
    onset, recovery = (None if about[key] is None else float(about[key]) for key in ("onset", "recovery"))
    return Recording(about["name"], about["title"], float(about["interval"]), times, onset, recovery, tuple(series))
