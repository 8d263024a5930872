"""What PromQL selects from: series with their own sample times, and the vectors that expressions evaluate to.

Invariant: sample times are int64 milliseconds, ascending; series with samples at the same times share one array
of them, so that work on the time axis is done once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from shared.observability.promql_syntax import Matcher, QueryError, compile_regex
from shared.observability.recording import Recording

__all__ = ["LOOKBACK", "Block", "Labels", "Store", "Vector", "merged", "milliseconds", "without_name"]

LOOKBACK = 300_000
"""How long a sample stays visible to an instant selector, in ms, where no newer one ends it."""

Labels = tuple[tuple[str, str], ...]
"""Sorted (name, value) pairs; no empty values."""


@dataclass(frozen=True, slots=True)
class Vector:
    """An instant vector at many instants: row i holds the series `labels[i]`, column j the j-th instant.

    `present` tells a sample that is NaN from no sample; `values` mean nothing where it is false.
    """

    labels: list[Labels]
    values: np.ndarray
    present: np.ndarray

    def rows(self, chosen: Sequence[int] | np.ndarray) -> Vector:
        return Vector([self.labels[row] for row in chosen], self.values[chosen], self.present[chosen])


@dataclass(frozen=True, slots=True)
class Block:
    """Series that share their sample times. `stale` marks samples that end a series rather than continue it."""

    labels: list[Labels]
    times: np.ndarray
    values: np.ndarray
    stale: np.ndarray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    labels: Labels
    times: np.ndarray
    values: np.ndarray
    stale: np.ndarray | None = None


class Store:
    """Series by name. Immutable but for `add`; a store made `of` a recording is shared and never added to."""

    def __init__(self, series: Iterable[_Series] = ()) -> None:
        self._by_name: dict[str, list[_Series]] = {}
        for one in series:
            self._insert(one)

    @classmethod
    def of(cls, recording: Recording) -> Store:
        """The recording's series, indexed once per recording."""
        if (store := _STORES.get(recording)) is None:
            store = _STORES[recording] = cls(_series(recording))
        return store

    def copy(self) -> Store:
        """A store of the same series that may be added to."""
        return Store(one for group in self._by_name.values() for one in group)

    def add(self, labels: Labels, times: np.ndarray, values: np.ndarray, stale: np.ndarray) -> None:
        """One more series. `times` in ms; samples that are `stale` have no value."""
        self._insert(_Series(labels, times, values, stale if stale.any() else None))

    def names(self) -> set[str]:
        return set(self._by_name)

    def blocks(self, matchers: Sequence[Matcher], *, ranges: bool) -> list[Block]:
        """The series that all matchers accept. For range selectors samples that end a series are left out."""
        together: dict[int, list[_Series]] = {}
        for one in self._matching(matchers):
            if one.stale is not None:
                if ranges:
                    kept = ~one.stale
                    one = _Series(one.labels, one.times[kept], one.values[kept])
                together[-1 - len(together)] = [one]
            else:
                together.setdefault(id(one.times), []).append(one)
        return [
            Block(
                [one.labels for one in group],
                group[0].times,
                np.stack([one.values for one in group]),
                None if group[0].stale is None else group[0].stale[None, :],
            )
            for group in together.values()
            if len(group[0].times)
        ]

    def _matching(self, matchers: Sequence[Matcher]) -> list[_Series]:
        names: Iterable[str] = self._by_name
        rest = []
        for matcher in matchers:
            if matcher.label == "__name__":
                names = [name for name in names if _accepts(matcher, name)]
            else:
                rest.append(matcher)
        verdicts: dict[tuple[int, str], bool] = {}
        chosen = []
        for name in names:
            for one in self._by_name[name]:
                labels = dict(one.labels)
                for place, matcher in enumerate(rest):
                    value = labels.get(matcher.label, "")
                    verdict = verdicts.get((place, value))
                    if verdict is None:
                        verdict = verdicts[place, value] = _accepts(matcher, value)
                    if not verdict:
                        break
                else:
                    chosen.append(one)
        return chosen

    def _insert(self, one: _Series) -> None:
        self._by_name.setdefault(dict(one.labels).get("__name__", ""), []).append(one)


_STORES: WeakKeyDictionary[Recording, Store] = WeakKeyDictionary()


def milliseconds(seconds: np.ndarray) -> np.ndarray:
    """Unix seconds as int64 ms, the unit of Prometheus' timestamps."""
    return np.rint(np.asarray(seconds, dtype=np.float64) * 1000.0).astype(np.int64)


def _series(recording: Recording) -> Iterable[_Series]:
    grid = milliseconds(recording.times)
    shared: dict[bytes, np.ndarray] = {}
    for one in recording.series:
        there = ~np.isnan(one.values)
        labels = tuple(sorted((name, value) for name, value in one.labels.items() if value))
        pattern = np.packbits(there).tobytes()
        if pattern not in shared:
            shared[pattern] = grid if there.all() else grid[there]
        times = shared[pattern]
        yield _Series(labels, times, one.values if times is grid else one.values[there])


def _accepts(matcher: Matcher, value: str) -> bool:
    match matcher.op:
        case "=":
            return value == matcher.value
        case "!=":
            return value != matcher.value
        case "=~":
            return compile_regex(matcher.value).search(value) is not None
    return compile_regex(matcher.value).search(value) is None


def without_name(labels: Labels) -> Labels:
    return tuple(pair for pair in labels if pair[0] != "__name__")


def merged(vector: Vector) -> Vector:
    """`vector` with one row per label set and no row that is never present.

    Raises QueryError where two rows of the same labels are present at the same instant.
    """
    places: dict[Labels, list[int]] = {}
    for row, labels in enumerate(vector.labels):
        places.setdefault(labels, []).append(row)
    if len(places) < len(vector.labels):
        count = len(places)
        values = np.empty((count, vector.values.shape[1]))
        present = np.empty((count, vector.values.shape[1]), dtype=bool)
        for place, (labels, rows) in enumerate(places.items()):
            values[place], present[place] = vector.values[rows[0]], vector.present[rows[0]]
            for row in rows[1:]:
                here = vector.present[row]
                if (here & present[place]).any():
                    raise QueryError(f"The result would contain two series with the same labels, {shown(labels)}.")
                values[place, here] = vector.values[row, here]
                present[place] |= here
        vector = Vector(list(places), values, present)
    kept = vector.present.any(axis=1)
    return vector if kept.all() else vector.rows(np.flatnonzero(kept))


def shown(labels: Labels) -> str:
    """Labels as PromQL writes them, shortened for a sentence."""
    text = "{" + ", ".join(f'{name}="{value}"' for name, value in labels) + "}"
    return text if len(text) <= 120 else f"{text[:117]}..."
