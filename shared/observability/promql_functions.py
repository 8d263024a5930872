"""What PromQL's functions compute, as numpy over many series and many instants at once.

Invariant: no function here knows labels or syntax. Rows are series, columns are instants; window functions see one
block of series that share their sample times. Semantics: Prometheus 2.42, promql/functions.go and promql/quantile.go.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shared.observability.promql_syntax import QueryError

__all__ = ["ELEMENTWISE", "OVER_TIME", "Windows", "arithmetic", "bucket_quantile", "compare", "date_part", "quantile"]

MAX_GATHERED = 200_000_000  # samples that one window function may touch one by one
CHUNK = 1_000_000


class Windows:
    """For every instant, the samples in [end - length, end] of series that share `times` (int64 ms, ascending).

    `low` and `high` are the half-open range of sample indices; `first` and `last` are safe to index with, also where a
    window is empty.
    """

    __slots__ = ("count", "end", "first", "high", "last", "length", "low", "times")

    def __init__(self, times: np.ndarray, end: np.ndarray, length: int) -> None:
        self.times, self.end, self.length = times, end, length
        self.low = np.searchsorted(times, end - length, side="left")
        self.high = np.searchsorted(times, end, side="right")
        self.count = self.high - self.low
        top = max(len(times) - 1, 0)
        self.first = np.minimum(self.low, top)
        self.last = np.clip(self.high - 1, 0, top)

    def at_least(self, samples: int) -> np.ndarray:
        return self.count >= samples


Window = Callable[[Windows, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(windows, samples of shape (series, sample)) → (values, present), where present broadcasts to values' shape."""


# ---- counters and slopes -------------------------------------------------------------------------------------------


def _extrapolated(w: Windows, v: np.ndarray, *, counter: bool, per_second: bool) -> tuple[np.ndarray, np.ndarray]:
    """functions.go, extrapolatedRate."""
    present = w.at_least(2)
    first = v[:, w.first]
    result = v[:, w.last] - first
    if counter:
        drops = np.where(v[:, 1:] < v[:, :-1], v[:, :-1], 0.0)
        if drops.any():
            lost = np.zeros_like(v)
            np.cumsum(drops, axis=1, out=lost[:, 1:])
            result += lost[:, w.last] - lost[:, w.first]
    first_time, last_time = w.times[w.first], w.times[w.last]
    with np.errstate(all="ignore"):
        sampled = (last_time - first_time) / 1000.0
        to_start = (first_time - (w.end - w.length)) / 1000.0
        to_end = (w.end - last_time) / 1000.0
        between = sampled / (w.count - 1)
        threshold = between * 1.1
        base = sampled + np.where(to_end < threshold, to_end, between / 2)
        before = np.where(to_start < threshold, to_start, between / 2)
        scale = 1.0 / sampled
        if per_second:
            scale = scale / (w.length / 1000.0)
        if not counter:
            return result * ((base + before) * scale), present
        # A counter is not extrapolated below zero. The few windows where that matters are those near a counter's start.
        factor = np.broadcast_to((base + before) * scale, result.shape)
        near = (result > 0) & (first >= 0) & (sampled * first < to_start * result)
        if near.any():
            rows, columns = np.nonzero(near)
            to_zero = sampled[columns] * (first[near] / result[near])
            start = np.where(to_zero < threshold[columns], to_zero, between[columns] / 2)
            factor = factor.copy()
            factor[rows, columns] = (base[columns] + start) * scale[columns]
        return result * factor, present


def _last_two(w: Windows, v: np.ndarray, *, counter: bool) -> tuple[np.ndarray, np.ndarray]:
    """functions.go, instantValue."""
    before = np.maximum(w.last - 1, 0)
    last, previous = v[:, w.last], v[:, before]
    if not counter:
        return last - previous, w.at_least(2)
    with np.errstate(all="ignore"):
        seconds = (w.times[w.last] - w.times[before]) / 1000.0
        return np.where(last < previous, last, last - previous) / seconds, w.at_least(2) & (seconds > 0)


def _steps(w: Windows, happens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often `happens` (between consecutive samples) within each window."""
    total = np.zeros((happens.shape[0], len(w.times)), dtype=np.int64)
    np.cumsum(happens, axis=1, out=total[:, 1:])
    return (total[:, w.last] - total[:, w.first]).astype(np.float64), w.at_least(1)


def _changes(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    before, after = v[:, :-1], v[:, 1:]
    return _steps(w, (before != after) & ~(np.isnan(before) & np.isnan(after)))


def _resets(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _steps(w, v[:, 1:] < v[:, :-1])


def regression(w: Windows, v: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares slope per second and value at `origin` (ms) of every window: functions.go, linearRegression."""
    slope, intercept = np.empty((v.shape[0], len(w.end))), np.empty((v.shape[0], len(w.end)))
    for rows, samples, inside in _gathered(w, len(v)):
        times = np.where(inside, (w.times[samples] - origin[rows, None]) / 1000.0, 0.0)
        n = np.maximum(inside.sum(axis=1), 1)
        mean_time = times.sum(axis=1) / n
        centred = np.where(inside, times - mean_time[:, None], 0.0)
        spread = (centred * centred).sum(axis=1)
        for row, series in enumerate(v):
            values = np.where(inside, series[samples], 0.0)
            start = values[:, :1]
            constant = np.where(inside, values == start, True).all(axis=1)
            with np.errstate(all="ignore"):
                # Differences from the first value: a large level then costs no digits of a small slope.
                relative = np.where(inside, values - start, 0.0)
                gradient = (centred * relative).sum(axis=1) / spread
                level = start[:, 0] + relative.sum(axis=1) / n - gradient * mean_time
            infinite = np.isinf(start[:, 0])
            slope[row, rows] = np.where(constant, np.where(infinite, np.nan, 0.0), gradient)
            intercept[row, rows] = np.where(constant, np.where(infinite, np.nan, start[:, 0]), level)
    return slope, intercept


def _deriv(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return regression(w, v, w.times[w.first])[0], w.at_least(2)


# ---- over time -----------------------------------------------------------------------------------------------------


def _gathered(w: Windows, series: int):
    """Chunks of instants with the samples of their windows as padded rows: (instants, indices, which are real)."""
    if not len(w.end):
        return
    longest = max(int(w.count.max(initial=0)), 1)
    if longest * len(w.end) * max(series, 1) > MAX_GATHERED:
        raise QueryError("The expression is too heavy: its ranges hold too many samples for so many instants.")
    per_chunk = max(CHUNK // longest, 1)
    reach = np.arange(longest)
    for begin in range(0, len(w.end), per_chunk):
        rows = slice(begin, begin + per_chunk)
        samples = w.low[rows, None] + reach
        inside = samples < w.high[rows, None]
        yield rows, np.minimum(samples, len(w.times) - 1), inside


def _sum(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    touched = int(w.count.sum()) * len(v)
    if touched <= 5_000_000 or not np.isfinite(v).all():
        if touched > MAX_GATHERED:
            raise QueryError("The expression is too heavy: its ranges hold too many samples for so many instants.")
        return _reduce(np.add, w, v), w.at_least(1)
    # Prefix sums of the deviations from the mean, so that long series cost no digits.
    mean = v.mean(axis=1, keepdims=True)
    prefix = np.zeros((len(v), v.shape[1] + 1))
    np.cumsum(v - mean, axis=1, out=prefix[:, 1:])
    return prefix[:, w.high] - prefix[:, w.low] + mean * w.count, w.at_least(1)


def _reduce(operation: np.ufunc, w: Windows, v: np.ndarray) -> np.ndarray:
    """The operation over every window, sample by sample. Empty windows get a meaningless number."""
    padded = np.concatenate([v, v[:, -1:]], axis=1)
    pairs = np.empty(2 * len(w.end), dtype=np.intp)
    pairs[0::2], pairs[1::2] = w.low, w.high
    return operation.reduceat(padded, pairs, axis=1)[:, 0::2]


def _average(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total, present = _sum(w, v)
    return total / np.maximum(w.count, 1), present


def _extreme(choose: np.ufunc) -> Window:
    """Sliding minimum or maximum by a sparse table: O(samples · log window), then two look-ups per instant."""

    def over_time(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        result = np.empty((len(v), len(w.end)))
        level_of = np.zeros(len(w.end), dtype=np.int64)
        level_of[w.count > 0] = np.frexp(w.count[w.count > 0])[1] - 1
        table, level = v, 0
        while True:
            here = level_of == level
            if here.any():
                span = 1 << level
                width = table.shape[1] - 1
                left = np.minimum(w.low[here], width)
                right = np.clip(w.high[here] - span, 0, width)
                result[:, here] = choose(table[:, left], table[:, right])
            if level >= level_of.max(initial=0):
                return result, w.at_least(1)
            table = choose(table[:, : -(1 << level)], table[:, 1 << level :])
            level += 1

    return over_time


def _count(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.broadcast_to(w.count.astype(np.float64), (len(v), len(w.end))), w.at_least(1)


def _last(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return v[:, w.last], w.at_least(1)


def _present(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.ones((len(v), len(w.end))), w.at_least(1)


def _variance(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    result = np.empty((len(v), len(w.end)))
    for rows, samples, inside in _gathered(w, len(v)):
        n = np.maximum(inside.sum(axis=1), 1)
        for row, series in enumerate(v):
            values = np.where(inside, series[samples], 0.0)
            with np.errstate(all="ignore"):
                away = np.where(inside, values - (values.sum(axis=1) / n)[:, None], 0.0)
                result[row, rows] = (away * away).sum(axis=1) / n
    return result, w.at_least(1)


def _deviation(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    variance, present = _variance(w, v)
    return np.sqrt(variance), present


def quantile_over_time(q: np.ndarray, w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The q-quantile (one q per instant) of every window."""
    result = np.empty((len(v), len(w.end)))
    for rows, samples, inside in _gathered(w, len(v)):
        for row, series in enumerate(v):
            result[row, rows] = quantile(q[rows], series[samples].T, inside.T)
    return result, w.at_least(1)


def _rate(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _extrapolated(w, v, counter=True, per_second=True)


def _increase(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _extrapolated(w, v, counter=True, per_second=False)


def _delta(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _extrapolated(w, v, counter=False, per_second=False)


def _irate(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _last_two(w, v, counter=True)


def _idelta(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _last_two(w, v, counter=False)


OVER_TIME: dict[str, Window] = {
    "rate": _rate,
    "increase": _increase,
    "delta": _delta,
    "irate": _irate,
    "idelta": _idelta,
    "deriv": _deriv,
    "changes": _changes,
    "resets": _resets,
    "sum_over_time": _sum,
    "avg_over_time": _average,
    "min_over_time": _extreme(np.fmin),
    "max_over_time": _extreme(np.fmax),
    "count_over_time": _count,
    "last_over_time": _last,
    "present_over_time": _present,
    "stddev_over_time": _deviation,
    "stdvar_over_time": _variance,
}
"""Functions of one range vector. All but last_over_time drop the metric's name."""


# ---- quantiles -----------------------------------------------------------------------------------------------------


def quantile(q: np.ndarray, values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Per column, the q-quantile of the present values, interpolated: quantile.go, quantile. NaN sorts lowest."""
    n = present.sum(axis=0)
    key = np.where(present, np.where(np.isnan(values), -np.inf, values), np.inf)
    ranked = np.sort(key, axis=0)
    nans = (present & np.isnan(values)).sum(axis=0)
    with np.errstate(all="ignore"):
        rank = np.nan_to_num(q) * (n - 1)
        below = np.clip(np.floor(rank), 0, np.maximum(n - 1, 0)).astype(np.intp)
        above = np.minimum(below + 1, np.maximum(n - 1, 0))
        weight = rank - np.floor(rank)
        columns = np.arange(values.shape[1])
        low = np.where(below < nans, np.nan, ranked[below, columns])
        high = np.where(above < nans, np.nan, ranked[above, columns])
        result = low * (1 - weight) + high * weight
    result = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, result))
    return np.where(np.isnan(q) | (n == 0), np.nan, result)


def bucket_quantile(q: np.ndarray, bounds: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Per column, the q-quantile of a classic histogram with ascending upper `bounds`: quantile.go, bucketQuantile."""
    if len(bounds) < 2 or not np.isposinf(bounds[-1]):
        result = np.full(counts.shape[1], np.nan)
    else:
        counts = np.fmax.accumulate(counts, axis=0)
        columns = np.arange(counts.shape[1])
        with np.errstate(all="ignore"):
            rank = q * counts[-1]
            reached = counts[:-1] >= rank
            bucket = np.where(reached.any(axis=0), reached.argmax(axis=0), len(bounds) - 1)
            inner = np.minimum(bucket, len(bounds) - 2)
            below = np.where(inner > 0, counts[np.maximum(inner - 1, 0), columns], 0.0)
            start = np.where(inner > 0, bounds[np.maximum(inner - 1, 0)], 0.0)
            end = bounds[inner]
            result = start + (end - start) * ((rank - below) / (counts[inner, columns] - below))
        result = np.where((bucket == 0) & (bounds[0] <= 0), bounds[0], result)
        result = np.where(bucket == len(bounds) - 1, bounds[-2], result)
        result = np.where(counts[-1] == 0, np.nan, result)
    result = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, result))
    return np.where(np.isnan(q), np.nan, result)


# ---- element by element --------------------------------------------------------------------------------------------


def arithmetic(op: str, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        match op:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case "/":
                return left / right
            case "%":
                return np.fmod(left, right)
            case "^":
                return np.power(left, right)
            case "atan2":
                return np.arctan2(left, right)
    raise QueryError(f"The operator {op} is not supported.")


def compare(op: str, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Booleans; every comparison with NaN but != is false."""
    match op:
        case "==":
            return left == right
        case "!=":
            return left != right
        case ">":
            return left > right
        case "<":
            return left < right
        case ">=":
            return left >= right
        case "<=":
            return left <= right
    raise QueryError(f"The operator {op} is not supported.")


ELEMENTWISE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "exp": np.exp,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sqrt": np.sqrt,
    "sgn": np.sign,
    "deg": np.degrees,
    "rad": np.radians,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
}


def date_part(name: str, seconds: np.ndarray) -> np.ndarray:
    """minute, hour, day_of_week, … in UTC of unix seconds."""
    whole = np.where(np.isfinite(seconds), seconds, 0.0)
    whole = np.clip(np.trunc(whole), -6e10, 2.5e11).astype(np.int64)
    days = np.floor_divide(whole, 86_400)
    date = days.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    match name:
        case "minute":
            part = whole // 60 % 60
        case "hour":
            part = whole // 3600 % 24
        case "day_of_week":
            part = (days + 4) % 7
        case "day_of_month":
            part = (date - month.astype("datetime64[D]")).astype(np.int64) + 1
        case "day_of_year":
            part = (date - date.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1
        case "days_in_month":
            part = ((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)
        case "month":
            part = month.astype(np.int64) % 12 + 1
        case "year":
            part = date.astype("datetime64[Y]").astype(np.int64) + 1970
        case _:
            raise QueryError(f"The function {name} is not supported.")
    return part.astype(np.float64)


DATE_PARTS = frozenset(
    {"minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"}
)
