"""PromQL evaluated over recorded metrics: a whole expression at all instants at once, as Prometheus 2.42 would answer.

Invariant: `evaluate` returns what a range query of the real server returns at the same instants (compared with it on
every expression of the course), or raises QueryError with one sentence. Expressions may be hostile: their size, their
regular expressions (RE2) and the work they cause are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from typing import TypeVar

import numpy as np

from shared.observability import promql_functions as functions
from shared.observability.promql_functions import OVER_TIME, Windows
from shared.observability.promql_series import (
    LOOKBACK,
    Block,
    Labels,
    Store,
    Vector,
    merged,
    milliseconds,
    shown,
    without_name,
)
from shared.observability.promql_syntax import (
    COMPARISONS,
    LABEL_NAME,
    SET_OPERATORS,
    Aggregate,
    At,
    Binary,
    Call,
    Expression,
    Matching,
    Negate,
    Number,
    QueryError,
    Range,
    Selector,
    Subquery,
    Text,
    compile_regex,
    kind,
    parse,
)
from shared.observability.recording import Recording

__all__ = ["Evaluation", "QueryError", "evaluate", "evaluate_at", "parse"]

MAX_INSTANTS = 250_000
MAX_CELLS = 30_000_000  # of one vector: series × instants
MAX_WORK = 600_000_000  # of one expression: cells of all its vectors
MAX_DISTINCT = 1_000  # values that count_values may turn into labels
KEEPING_NAME = COMPARISONS | {"atan2"}  # engine.go, shouldDropMetricName
DEFAULT_STEP = 60_000  # of a subquery without one: Prometheus' default evaluation interval

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Value = np.ndarray | Vector
"""A scalar (one number per instant) or an instant vector."""


def evaluate(expr: str, recording: Recording, times: np.ndarray) -> list[tuple[dict[str, str], np.ndarray]]:
    """A range query: `expr` at every instant of `times` (unix seconds).

    Returns one (labels, values) per series; values lie on `times` and are NaN where there is no sample (or where the
    sample is NaN). A scalar is one series without labels. `@ start()` and `@ end()` are the first and last of `times`.
    Raises QueryError. Thread-safe.
    """
    instants = milliseconds(np.asarray(times).reshape(-1))
    value = Evaluation(Store.of(recording), instants).value(_answerable(expr))
    if not isinstance(value, Vector):
        return [({}, value)]
    return [
        (dict(labels), np.where(present, values, np.nan))
        for labels, values, present in zip(value.labels, value.values, value.present, strict=True)
    ]


def evaluate_at(expr: str, recording: Recording, t: float) -> list[tuple[dict[str, str], float]]:
    """An instant query at `t` (unix seconds): the samples that exist, NaN among them. sort() and topk() set the order.

    Raises QueryError. Thread-safe.
    """
    node = _answerable(expr)
    value = Evaluation(Store.of(recording), milliseconds(np.array([t]))).value(node)
    if not isinstance(value, Vector):
        return [({}, float(value[0]))]
    rows = [row for row in range(len(value.labels)) if value.present[row, 0]]
    order = {"sort": 1.0, "topk": -1.0, "sort_desc": -1.0, "bottomk": 1.0}.get(
        getattr(node, "op", getattr(node, "name", ""))
    )
    if order is not None:
        rows.sort(key=lambda row: (np.isnan(value.values[row, 0]), order * value.values[row, 0]))
    return [(dict(value.labels[row]), float(value.values[row, 0])) for row in rows]


def _answerable(expr: str) -> Expression:
    node = parse(expr)
    if kind(node) == "matrix":
        raise QueryError("A range vector is no answer: apply a function such as rate() to it.")
    if kind(node) == "string":
        raise QueryError("A string is no answer: the expression needs a number or a vector.")
    return node


class Evaluation:
    """One store at one array of instants (int64 ms). `value` may be called for many expressions; they share windows.

    With `rules`, every instant is a query of its own, as for rules: `@ start()` and `@ end()` are the instant itself.
    Not thread-safe.
    """

    def __init__(self, store: Store, instants: np.ndarray, *, rules: bool = False) -> None:
        if len(instants) > MAX_INSTANTS:
            raise QueryError(f"At most {MAX_INSTANTS} instants are evaluated at once, not {len(instants)}.")
        self.store = store
        self.instants = instants
        self._rules = rules
        self._ends: dict[tuple[int, At | None], np.ndarray] = {}
        self._windows: dict[tuple[int, int, int], Windows] = {}
        self._rates: dict[Call, Vector] = {}
        self._work = 0

    def value(self, node: Expression) -> Value:
        """The value of `node` at the instants. Raises QueryError."""
        self._work = 0
        if not len(self.instants):
            return np.empty(0) if kind(node) == "scalar" else _nothing(self.instants)
        with np.errstate(all="ignore"):
            return self._value(node, self.instants)

    # -- dispatch

    def _value(self, node: Expression, ts: np.ndarray) -> Value:
        match node:
            case Number(number):
                return np.full(len(ts), number)
            case Selector():
                return merged(self._selected(node, ts, stamps=False))
            case Negate(inner):
                value = self._value(inner, ts)
                return -value if not isinstance(value, Vector) else _renamed(value, -value.values)
            case Aggregate():
                result: Value = self._aggregate(node, ts)
            case Binary():
                result = self._binary(node, ts)
            case Call():
                result = self._call(node, ts)
            case _:
                raise QueryError("A range vector or a string stands where a number or an instant vector is expected.")
        if isinstance(result, Vector):
            self._charge(len(result.labels), ts)
        return result

    def _vector(self, node: Expression, ts: np.ndarray) -> Vector:
        value = self._value(node, ts)
        if not isinstance(value, Vector):
            raise QueryError("A scalar stands where an instant vector is expected.")
        return value

    def _scalar(self, node: Expression, ts: np.ndarray) -> np.ndarray:
        value = self._value(node, ts)
        if isinstance(value, Vector):
            raise QueryError("An instant vector stands where a scalar is expected.")
        return value

    def _charge(self, series: int, ts: np.ndarray) -> None:
        cells = series * len(ts)
        self._work += cells
        if cells > MAX_CELLS or self._work > MAX_WORK:
            raise QueryError(f"The expression is too heavy: {series} series at {len(ts)} instants.")

    # -- selection

    def _moments(self, ts: np.ndarray, offset: int, at: At | None) -> np.ndarray:
        """The instants that a selector looks back from; the same array for the same modifiers."""
        if ts is self.instants:
            return _kept(self._ends, (offset, at), lambda: self._moved(ts, offset, at), 64)
        return self._moved(ts, offset, at)

    def _moved(self, ts: np.ndarray, offset: int, at: At | None) -> np.ndarray:
        if at is None:
            return ts - offset if offset else ts
        if at.kind == "at":
            return np.full(len(ts), at.moment - offset)
        if self._rules:
            if ts is not self.instants:
                raise QueryError("@ start() and @ end() inside a subquery are not supported in rules.")
            return ts - offset
        return np.full(len(ts), (self.instants[0] if at.kind == "start" else self.instants[-1]) - offset)

    def _selected(self, node: Selector, ts: np.ndarray, *, stamps: bool) -> Vector:
        """The newest sample of every series within the lookback: its value or, with `stamps`, its time in seconds."""
        moments = self._moments(ts, node.offset, node.at)
        labels: list[Labels] = []
        values, present = [], []
        for block in self.store.blocks(node.matchers, ranges=False):
            self._charge(len(block.labels), ts)
            newest = np.searchsorted(block.times, moments, side="right") - 1
            index = np.maximum(newest, 0)
            there = (newest >= 0) & (moments - block.times[index] <= LOOKBACK)
            shape = (len(block.labels), len(ts))
            labels += block.labels
            values.append(np.broadcast_to(block.times[index] / 1000.0, shape) if stamps else block.values[:, index])
            present.append(np.broadcast_to(there, shape) if block.stale is None else there & ~block.stale[:, index])
        return _stacked(labels, values, present, ts)

    def _ranges(self, node: Expression, ts: np.ndarray) -> tuple[list[Block], np.ndarray, int]:
        """The blocks of samples that a range vector draws from, the end of its window per instant, and its length."""
        match node:
            case Range(selector, length):
                blocks = self.store.blocks(selector.matchers, ranges=True)
                return blocks, self._moments(ts, selector.offset, selector.at), length
            case Subquery(inner, length, step, offset, at):
                return self._subquery(inner, length, step or DEFAULT_STEP, self._moments(ts, offset, at))
        raise QueryError("An instant vector stands where a range vector is expected.")

    def _subquery(
        self, inner: Expression, length: int, step: int, ends: np.ndarray
    ) -> tuple[list[Block], np.ndarray, int]:
        # Evaluated at the multiples of step that some window contains.
        first, last = -((length - ends.min()) // step) * step, ends.max() // step * step
        if (last - first) // step > 4 * MAX_INSTANTS:
            raise QueryError(f"The subquery [{length // 1000}s:{step}ms] has too many steps.")
        grid = np.arange(first, last + step, step, dtype=np.int64)
        ordered = np.sort(ends)
        next_end = np.searchsorted(ordered, grid, side="left")
        used = next_end < len(ordered)
        used[used] = ordered[next_end[used]] - grid[used] <= length
        grid = grid[used]
        if len(grid) > MAX_INSTANTS:
            raise QueryError(f"The subquery [{length // 1000}s:{step}ms] has too many steps.")
        if not len(grid):
            return [], ends, length
        value = self._value(inner, grid)
        if not isinstance(value, Vector):
            value = Vector([()], value[None, :], np.ones((1, len(grid)), dtype=bool))
        patterns: dict[bytes, list[int]] = {}
        for row, present in enumerate(value.present):
            patterns.setdefault(np.packbits(present).tobytes(), []).append(row)
        blocks = []
        for rows in patterns.values():
            there = value.present[rows[0]]
            blocks.append(Block([value.labels[row] for row in rows], grid[there], value.values[rows][:, there]))
        return blocks, ends, length

    def _window(self, block: Block, ends: np.ndarray, length: int, ts: np.ndarray) -> Windows:
        if ts is not self.instants:
            return Windows(block.times, ends, length)
        # Windows keep their arrays, so that their ids stay theirs.
        return _kept(self._windows, (id(block.times), id(ends), length), lambda: Windows(block.times, ends, length), 16)

    # -- functions

    def _call(self, node: Call, ts: np.ndarray) -> Value:
        name, args = node.name, node.args
        if name in OVER_TIME:
            if ts is self.instants and isinstance(args[0], Range):
                return _kept(self._rates, node, lambda: self._over_time(name, args[0], ts, OVER_TIME[name]), 8)
            return self._over_time(name, args[0], ts, OVER_TIME[name])
        if name in functions.ELEMENTWISE:
            vector = self._vector(args[0], ts)
            return _renamed(vector, functions.ELEMENTWISE[name](vector.values))
        if name in functions.DATE_PARTS:
            if not args:
                return Vector([()], functions.date_part(name, ts[None, :] / 1000.0), np.ones((1, len(ts)), dtype=bool))
            vector = self._vector(args[0], ts)
            return _renamed(vector, functions.date_part(name, vector.values))
        special: Callable[..., Value] | None = getattr(self, f"_call_{name}", None)
        if special is None:
            raise QueryError(f"The function {name}() is not supported.")
        return special(args, ts)

    def _over_time(self, name: str, arg: Expression, ts: np.ndarray, compute: functions.Window) -> Vector:
        blocks, ends, length = self._ranges(arg, ts)
        labels: list[Labels] = []
        values, present = [], []
        for block in blocks:
            self._charge(len(block.labels), ts)
            window = self._window(block, ends, length, ts)
            # A few series at a time: intermediate arrays then stay in the processor's cache.
            few = max(1, 200_000 // len(ts))
            for first in range(0, len(block.labels), few):
                result, there = compute(window, block.values[first : first + few])
                values.append(result)
                present.append(np.broadcast_to(there, result.shape))
            labels += block.labels if name == "last_over_time" else [without_name(one) for one in block.labels]
        return merged(_stacked(labels, values, present, ts))

    def _call_quantile_over_time(self, args: tuple[Expression, ...], ts: np.ndarray) -> Vector:
        q = self._scalar(args[0], ts)
        return self._over_time("quantile_over_time", args[1], ts, lambda w, v: functions.quantile_over_time(q, w, v))

    def _call_predict_linear(self, args: tuple[Expression, ...], ts: np.ndarray) -> Vector:
        ahead = self._scalar(args[1], ts)

        def predict(w: Windows, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            slope, level = functions.regression(w, v, ts)
            return slope * ahead + level, w.at_least(2)

        return self._over_time("predict_linear", args[0], ts, predict)

    def _call_absent(self, args: tuple[Expression, ...], ts: np.ndarray) -> Vector:
        there = _anywhere(self._vector(args[0], ts).present)
        return _missing(args[0], there)

    def _call_absent_over_time(self, args: tuple[Expression, ...], ts: np.ndarray) -> Vector:
        there = _anywhere(self._over_time("count_over_time", args[0], ts, OVER_TIME["count_over_time"]).present)
        return _missing(args[0].selector if isinstance(args[0], Range) else args[0], there)

    def _call_time(self, args: tuple[Expression, ...], ts: np.ndarray) -> np.ndarray:
        return ts / 1000.0

    def _call_pi(self, args: tuple[Expression, ...], ts: np.ndarray) -> np.ndarray:
        return np.full(len(ts), np.pi)

    def _call_vector(self, args: tuple[Expression, ...], ts: np.ndarray) -> Vector:
        return Vector([()], self._scalar(args[0], ts)[None, :], np.ones((1, len(ts)), dtype=bool))

    def _call_scalar(self, args: tuple[Expression, ...], ts: np.ndarray) -> np.ndarray:
        vector = self._vector(args[0], ts)
        alone = vector.present.sum(axis=0) == 1
        return np.where(alone, np.where(vector.present, vector.values, 0.0).sum(axis=0), np.nan)

    def _call_timestamp(self, args: tuple[Expression, ...], ts: np.ndarray) -> Vector:
        if isinstance(args[0], Selector):
            stamped = self._selected(args[0], ts, stamps=True)
            return _renamed(stamped, stamped.values)
        vector = self._vector(args[0], ts)
        return _renamed(vector, np.broadcast_to(ts / 1000.0, vector.values.shape))

    def _call_sort(self, args: tuple[Expression, ...], ts: np.ndarray) -> Vector:
        return self._vector(args[0], ts)

    _call_sort_desc = _call_sort

    def _call_round(self, args: tuple[Expression, ...], ts: np.ndarray) -> Vector:
        vector = self._vector(args[0], ts)
        inverse = 1.0 / (self._scalar(args[1], ts) if len(args) > 1 else np.ones(len(ts)))
        return _renamed(vector, np.floor(vector.values * inverse + 0.5) / inverse)

    def _call_clamp(self, args: tuple[Expression, ...], ts: np.ndarray) -> Vector:
        vector = self._vector(args[0], ts)
        low, high = self._scalar(args[1], ts), self._scalar(args[2], ts)
        clamped = np.maximum(low, np.minimum(high, vector.values))
        return merged(_renamed(Vector(vector.labels, vector.values, vector.present & ~(high < low)), clamped))

    def _call_clamp_min(self, args: tuple[Expression, ...], ts: np.ndarray) -> Vector:
        vector = self._vector(args[0], ts)
        return _renamed(vector, np.maximum(self._scalar(args[1], ts), vector.values))

    def _call_clamp_max(self, args: tuple[Expression, ...], ts: np.ndarray) -> Vector:
        vector = self._vector(args[0], ts)
        return _renamed(vector, np.minimum(self._scalar(args[1], ts), vector.values))

    def _call_label_replace(self, args: tuple[Expression, ...], ts: np.ndarray) -> Vector:
        vector = self._vector(args[0], ts)
        target, replacement, source, pattern = (_text(arg) for arg in args[1:])
        if not LABEL_NAME.match(target):
            raise QueryError(f"label_replace writes to {target!r}, which is no label name.")
        regex = compile_regex(pattern)
        labels = []
        for one in vector.labels:
            found = regex.search(dict(one).get(source, ""))
            labels.append(one if found is None else _with(one, target, _expanded(replacement, found)))
        return merged(Vector(labels, vector.values, vector.present))

    def _call_label_join(self, args: tuple[Expression, ...], ts: np.ndarray) -> Vector:
        vector = self._vector(args[0], ts)
        target, separator, *sources = (_text(arg) for arg in args[1:])
        for name in (target, *sources):
            if not LABEL_NAME.match(name):
                raise QueryError(f"label_join names {name!r}, which is no label name.")
        labels = [
            _with(one, target, separator.join(dict(one).get(source, "") for source in sources)) for one in vector.labels
        ]
        return merged(Vector(labels, vector.values, vector.present))

    def _call_histogram_quantile(self, args: tuple[Expression, ...], ts: np.ndarray) -> Vector:
        q, vector = self._scalar(args[0], ts), self._vector(args[1], ts)
        histograms: dict[Labels, dict[float, list[int]]] = {}
        for row, one in enumerate(vector.labels):
            try:
                bound = float(dict(one).get("le", ""))
            except ValueError:
                continue
            rest = tuple(pair for pair in one if pair[0] not in ("le", "__name__"))
            histograms.setdefault(rest, {}).setdefault(bound, []).append(row)
        values, present = [], []
        for buckets in histograms.values():
            bounds = np.array(sorted(buckets))
            there = np.stack([vector.present[buckets[bound]].any(axis=0) for bound in bounds])
            counts = np.stack(
                [
                    np.where(vector.present[rows], vector.values[rows], 0.0).sum(axis=0)
                    for rows in map(buckets.get, bounds)
                ]
            )
            result = np.full(len(ts), np.nan)
            for pattern, columns in _patterns(there):
                if pattern.any():
                    result[columns] = functions.bucket_quantile(
                        q[columns], bounds[pattern], counts[pattern][:, columns]
                    )
            values.append(result[None, :])
            present.append(_anywhere(there)[None, :])
        return merged(_stacked(list(histograms), values, present, ts))

    # -- aggregation

    def _aggregate(self, node: Aggregate, ts: np.ndarray) -> Vector:
        vector = self._vector(node.expr, ts)
        groups: dict[Labels, list[int]] = {}
        dropped = {*node.labels, "__name__"} if node.without else set()
        kept = set(node.labels)
        for row, one in enumerate(vector.labels):
            key = tuple(pair for pair in one if (pair[0] not in dropped if node.without else pair[0] in kept))
            groups.setdefault(key, []).append(row)
        if node.op in ("topk", "bottomk"):
            return self._ranked(node, vector, groups, ts)
        if node.op == "count_values":
            return _value_counts(vector, groups, _text(node.param), node.without)
        q = self._scalar(node.param, ts) if node.op == "quantile" and node.param is not None else None
        values, present = [], []
        for rows in groups.values():
            there, here = vector.present[rows], vector.values[rows]
            values.append(_aggregated(node.op, here, there, q)[None, :])
            present.append(_anywhere(there)[None, :])
        return merged(_stacked(list(groups), values, present, ts))

    def _ranked(self, node: Aggregate, vector: Vector, groups: dict[Labels, list[int]], ts: np.ndarray) -> Vector:
        assert node.param is not None
        k = self._scalar(node.param, ts)
        if np.isnan(k).any():
            raise QueryError(f"The first argument of {node.op} is not a number.")
        present = np.zeros_like(vector.present)
        sign = -1.0 if node.op == "topk" else 1.0
        for rows in groups.values():
            there, here = vector.present[rows], vector.values[rows]
            order = np.lexsort((sign * here, np.isnan(here), ~there), axis=0)
            rank = np.empty_like(order)
            np.put_along_axis(rank, order, np.arange(len(rows))[:, None], axis=0)
            present[rows] = there & (rank < np.trunc(k))
        return merged(Vector(vector.labels, vector.values, present))

    # -- operators

    def _binary(self, node: Binary, ts: np.ndarray) -> Value:
        left, right = self._value(node.left, ts), self._value(node.right, ts)
        if isinstance(left, Vector) and isinstance(right, Vector):
            if node.op in SET_OPERATORS:
                return _set_operation(node.op, node.matching, left, right)
            return _matched(node, left, right)
        if not isinstance(left, Vector) and not isinstance(right, Vector):
            if node.op in COMPARISONS:
                return functions.compare(node.op, left, right).astype(np.float64)
            return functions.arithmetic(node.op, left, right)
        vector = left if isinstance(left, Vector) else right
        assert isinstance(vector, Vector)
        a, b = (side.values if isinstance(side, Vector) else side for side in (left, right))
        if node.op not in COMPARISONS:
            values = functions.arithmetic(node.op, a, b)
            return (
                Vector(vector.labels, values, vector.present) if node.op in KEEPING_NAME else _renamed(vector, values)
            )
        holds = np.broadcast_to(functions.compare(node.op, a, b), vector.values.shape)
        if node.returns_bool:
            return _renamed(vector, holds.astype(np.float64))
        return merged(Vector(vector.labels, vector.values, vector.present & holds))


def _kept(cache: dict[K, V], key: K, make: Callable[[], V], size: int) -> V:
    """The value of `key`, made once while it is among the newest `size`."""
    if key not in cache:
        made = make()
        if len(cache) >= size:
            del cache[next(iter(cache))]
        cache[key] = made
    return cache[key]


def _nothing(ts: np.ndarray) -> Vector:
    return Vector([], np.empty((0, len(ts))), np.empty((0, len(ts)), dtype=bool))


def _anywhere(present: np.ndarray) -> np.ndarray:
    """The instants where some series is present."""
    return np.asarray(present.any(axis=0))


def _stacked(labels: list[Labels], values: list[np.ndarray], present: list[np.ndarray], ts: np.ndarray) -> Vector:
    if not labels:
        return _nothing(ts)
    if len(values) == 1:
        return Vector(labels, values[0], present[0])
    return Vector(labels, np.concatenate(values), np.concatenate(present))


def _renamed(vector: Vector, values: np.ndarray) -> Vector:
    """New values for the same series, whose metric name no longer describes them."""
    return merged(Vector([without_name(one) for one in vector.labels], values, vector.present))


def _with(labels: Labels, name: str, value: str) -> Labels:
    rest = {**dict(labels), name: value}
    if len(value) > 4_000:
        raise QueryError(f"The label {name!r} would become longer than 4000 characters.")
    return tuple(sorted(pair for pair in rest.items() if pair[1]))


def _text(node: Expression | None) -> str:
    if not isinstance(node, Text):
        raise QueryError("A string is expected here.")
    return node.value


_REFERENCE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})", re.ASCII)


def _expanded(template: str, found: re.Match[str]) -> str:
    """Go's Regexp.Expand: $name is the longest run of word characters; unknown groups are empty."""

    def value(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if name is None:
            return "$"
        try:
            return found.group(int(name) if name.isdigit() else name) or ""
        except (IndexError, KeyError):
            return ""

    return _REFERENCE.sub(value, template)


def _missing(selector: Expression, there: np.ndarray) -> Vector:
    """absent(): 1 where nothing is there, labelled by the selector's equality matchers."""
    labels: dict[str, str] = {}
    seen = set()
    for matcher in selector.matchers if isinstance(selector, Selector) else ():
        if matcher.label != "__name__":
            if matcher.op == "=" and matcher.label not in seen:
                labels[matcher.label] = matcher.value
                seen.add(matcher.label)
            else:
                labels.pop(matcher.label, None)
    key = tuple(sorted(pair for pair in labels.items() if pair[1]))
    return merged(Vector([key], np.ones((1, len(there))), ~there[None, :]))


def _patterns(there: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The distinct columns of `there`, each with the indices where it occurs."""
    # Nearly all columns have every row or none; only the rest is worth a sort.
    full, empty = there.all(axis=0), ~there.any(axis=0)
    patterns = [(there[:, columns[0]], columns) for columns in map(np.flatnonzero, (full, empty)) if len(columns)]
    rest = np.flatnonzero(~(full | empty))
    if len(rest):
        distinct, which = np.unique(there[:, rest], axis=1, return_inverse=True)
        patterns += [(distinct[:, place], rest[which.reshape(-1) == place]) for place in range(distinct.shape[1])]
    return patterns


def _aggregated(op: str, values: np.ndarray, present: np.ndarray, q: np.ndarray | None) -> np.ndarray:
    match op:
        case "sum":
            return np.where(present, values, 0.0).sum(axis=0)
        case "avg":
            return np.where(present, values, 0.0).sum(axis=0) / present.sum(axis=0)
        case "min":
            return np.fmin.reduce(np.where(present, values, np.nan), axis=0)
        case "max":
            return np.fmax.reduce(np.where(present, values, np.nan), axis=0)
        case "count":
            return present.sum(axis=0).astype(np.float64)
        case "group":
            return np.ones(values.shape[1])
        case "stddev" | "stdvar":
            n = present.sum(axis=0)
            mean = np.where(present, values, 0.0).sum(axis=0) / n
            variance = (np.where(present, values - mean, 0.0) ** 2).sum(axis=0) / n
            return variance if op == "stdvar" else np.sqrt(variance)
        case "quantile" if q is not None:
            return functions.quantile(q, values, present)
    raise QueryError(f"The aggregation {op} is not supported.")


def _value_counts(vector: Vector, groups: dict[Labels, list[int]], label: str, without: bool) -> Vector:
    labels: list[Labels] = []
    values, present = [], []
    for key, rows in groups.items():
        there, here = vector.present[rows], vector.values[rows]
        for number in np.unique(here[there]):
            count = (there & ((here == number) | (np.isnan(number) & np.isnan(here)))).sum(axis=0)
            labels.append(_with(key, label, _number_text(float(number))))
            values.append(count.astype(np.float64)[None, :])
            present.append((count > 0)[None, :])
            if len(labels) > MAX_DISTINCT:
                raise QueryError(f"count_values meets more than {MAX_DISTINCT} distinct values.")
    if not labels:
        return Vector([], vector.values[:0], vector.present[:0])
    return merged(Vector(labels, np.concatenate(values), np.concatenate(present)))


def _number_text(number: float) -> str:
    if np.isnan(number):
        return "NaN"
    if np.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    return np.format_float_positional(number, trim="-")


def _signature(labels: Labels, matching: Matching) -> Labels:
    if matching.on:
        return tuple(pair for pair in labels if pair[0] in matching.labels)
    return tuple(pair for pair in labels if pair[0] != "__name__" and pair[0] not in matching.labels)


def _any_present(vector: Vector, matching: Matching) -> dict[Labels, np.ndarray]:
    """Per signature, the instants where some series has it."""
    there: dict[Labels, np.ndarray] = {}
    for one, present in zip(vector.labels, vector.present, strict=True):
        key = _signature(one, matching)
        there[key] = there[key] | present if key in there else present
    return there


def _set_operation(op: str, matching: Matching, left: Vector, right: Vector) -> Vector:
    other = left if op == "or" else right
    there = _any_present(other, matching)
    one = right if op == "or" else left
    never = np.zeros(one.present.shape[1:], dtype=bool)
    met = [there.get(_signature(labels, matching), never) for labels in one.labels]
    matched = np.stack(met) if met else one.present
    filtered = Vector(one.labels, one.values, one.present & (matched if op == "and" else ~matched))
    if op != "or":
        return merged(filtered)
    return merged(
        Vector(
            left.labels + filtered.labels,
            np.concatenate([left.values, filtered.values]),
            np.concatenate([left.present, filtered.present]),
        )
    )


def _matched(node: Binary, left: Vector, right: Vector) -> Vector:
    """Arithmetic or comparison between vectors: engine.go, VectorBinop."""
    op, matching = node.op, node.matching
    many, one = (right, left) if matching.many == "right" else (left, right)
    # Where a side is empty the server looks no further, so that duplicates there are no error.
    active = _anywhere(left.present) & _anywhere(right.present)
    places = _rows_by_signature(one, matching, active, "left" if matching.many == "right" else "right")
    pairs = [
        (row, place) for row, labels in enumerate(many.labels) for place in places.get(_signature(labels, matching), ())
    ]
    if not pairs:
        return Vector([], left.values[:0], left.present[:0])
    many_rows, one_rows = (np.array(side) for side in zip(*pairs, strict=True))
    from_many, from_one = many.values[many_rows], one.values[one_rows]
    a, b = (from_one, from_many) if matching.many == "right" else (from_many, from_one)
    present = many.present[many_rows] & one.present[one_rows]
    if op not in COMPARISONS:
        values = functions.arithmetic(op, a, b)
    else:
        holds = functions.compare(op, a, b)
        values = holds.astype(np.float64) if node.returns_bool else a
        present = present if node.returns_bool else present & holds
    drops_name = node.returns_bool or op not in KEEPING_NAME
    labels = [_result_labels(many.labels[row], one.labels[place], matching, drops_name) for row, place in pairs]
    if matching.many is None:
        _refuse_many([_signature(many.labels[row], matching) for row, _ in pairs], present)
    try:
        return merged(Vector(labels, values, present))
    except QueryError:
        raise QueryError("Grouping labels must ensure unique matches: two results have the same labels.") from None


def _rows_by_signature(vector: Vector, matching: Matching, active: np.ndarray, side: str) -> dict[Labels, list[int]]:
    """Raises QueryError where two series of a signature are present at one of the `active` instants."""
    groups: dict[Labels, list[int]] = {}
    for row, labels in enumerate(vector.labels):
        groups.setdefault(_signature(labels, matching), []).append(row)
    for key, rows in groups.items():
        if len(rows) > 1 and ((vector.present[rows].sum(axis=0) > 1) & active).any():
            raise QueryError(
                f"Several series of the {side} side have the labels {shown(key)}: many-to-many matching is not allowed."
            )
    return groups


def _refuse_many(signatures: list[Labels], present: np.ndarray) -> None:
    groups: dict[Labels, list[int]] = {}
    for row, key in enumerate(signatures):
        groups.setdefault(key, []).append(row)
    for key, rows in groups.items():
        if len(rows) > 1 and (present[rows].sum(axis=0) > 1).any():
            raise QueryError(
                f"Several series of the left side match {shown(key)}: "
                "many-to-one matching must be explicit (group_left or group_right)."
            )


def _result_labels(many: Labels, one: Labels, matching: Matching, drops_name: bool) -> Labels:
    labels = without_name(many) if drops_name else many
    if matching.many is None:
        if matching.on:
            return tuple(pair for pair in labels if pair[0] in matching.labels)
        return tuple(pair for pair in labels if pair[0] not in matching.labels)
    if matching.include:
        source = dict(one)
        rest = {**dict(labels), **{name: source.get(name, "") for name in matching.include}}
        labels = tuple(sorted(pair for pair in rest.items() if pair[1]))
    return labels
