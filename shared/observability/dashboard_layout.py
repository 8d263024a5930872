"""A Grafana dashboard read from its JSON: rows, panels, queries and thresholds, and what they show of a recording.

Invariant: whatever the text, `read` returns a layout of bounded size or raises LayoutError with one sentence, and a
query costs bounded work. Colours follow Grafana's getActiveThreshold, rows what Grafana draws.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

__all__ = [
    "Layout", "LayoutError", "Panel", "Query", "Row", "Samples", "colour_of", "filled", "layout_of", "read", "reading",
    "samples",
]  # fmt: skip

MAX_CHARACTERS = 200_000
MAX_PANELS = 40
MAX_QUERIES = 60  # visible ones of all panels
MAX_STEPS = 5_000  # of one subquery
SIZES = (3, 4, 2, 3)
"""How many panels the rows of the course's dashboard have."""

_INTERVAL = "5m"  # what $__rate_interval and $__interval stand for
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_CALCS = ("last", "lastNotNull", "mean", "max", "min", "first", "firstNotNull")

Samples = tuple[tuple[dict[str, str], tuple[float, ...]], ...]
"""(labels, values) of each series; NaN where there is no sample."""


class LayoutError(ValueError):
    """The text is no dashboard, or a query cannot be answered; the message is one sentence for its author."""


@dataclass(frozen=True)
class Query:
    """One visible query of a panel. `source` is the uid of its data source, "" where neither it nor its panel names
    one; `instant` and `range` are as Grafana would run it."""

    expr: str
    source: str
    instant: bool
    range: bool
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel. `steps` are (from this value on, colour) in the order of the JSON, -inf for the base.

    `colour_mode` is the stat panel's ("value", "background", …), `scheme` the field's ("thresholds" where unset), and
    `calc` how many values become one.
    """

    title: str
    kind: str
    queries: tuple[Query, ...]
    steps: tuple[tuple[float, str], ...] = ()
    threshold_mode: str = "absolute"
    colour_mode: str = "value"
    scheme: str = "thresholds"
    calc: str = "lastNotNull"
    unit: str = ""


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Layout:
    """`span` is the range of time that the dashboard opens with, in seconds."""

    title: str
    span: float
    rows: tuple[Row, ...]


def layout_of(dashboard: Any) -> Layout:
    """The layout of a built dashboard of the Grafana Foundation SDK. Raises LayoutError."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    if not hasattr(dashboard, "to_json"):
        raise LayoutError(f"This is no built dashboard but a {type(dashboard).__name__}; a builder needs .build().")
    return read(json.dumps(dashboard, cls=JSONEncoder))


@functools.lru_cache(maxsize=32)
def read(text: str) -> Layout:
    """The layout in a dashboard's JSON. Raises LayoutError.

    Rows are row panels, open or collapsed, with what follows or lies in them; panels before the first row panel are a
    row of their own. Without row panels, panels at one height (`gridPos.y`) are a row.
    """
    if len(text) > MAX_CHARACTERS:
        raise LayoutError(f"A dashboard has at most {MAX_CHARACTERS:,} characters here, this one has {len(text):,}.")
    try:
        model = json.loads(text)
    except (ValueError, RecursionError):
        raise LayoutError("The dashboard is not valid JSON.") from None
    model = _dict(model, "the dashboard")
    entries = [_dict(one, "a panel") for one in _list(model.get("panels"), "the dashboard's panels")]
    within = [len(_list(one.get("panels"), "a row's panels")) for one in entries]
    if len(entries) + sum(within) > MAX_PANELS:
        raise LayoutError(f"A dashboard has at most {MAX_PANELS} panels here.")
    ways = [list(_sections(way)) for way in (entries, sorted(entries, key=_place))]
    ways.append(list(_lines(entries)))
    best = next((way for way in ways if tuple(len(members) for _, members in way) == SIZES), None)
    if best is None:
        best = ways[0] if any(_text(one.get("type")) == "row" for one in entries) else ways[-1]
    rows = tuple(Row(title, tuple(_panel(one) for one in members)) for title, members in best)
    count = sum(len(panel.queries) for row in rows for panel in row.panels)
    if count > MAX_QUERIES:
        raise LayoutError(f"The dashboard has {count} queries; at most {MAX_QUERIES} are read.")
    since = _text(_dict(model.get("time"), "time").get("from"))
    return Layout(_text(model.get("title")), _span(since), rows)


def colour_of(steps: Sequence[tuple[float, str]], value: float) -> str | None:
    """The colour that Grafana gives to `value`: of the last step that it reaches, in their order, stopping at the first
    that it does not reach. None without steps and for NaN."""
    if not steps or math.isnan(value):
        return None
    active = steps[0][1]
    for start, colour in steps:
        if value < start:
            break
        active = colour
    return active


def filled(expr: str, span: float) -> str:
    """`expr` with Grafana's own variables replaced: intervals are 5m, the range is `span` seconds. Raises LayoutError
    for a variable that has no value here."""
    values = {
        "__rate_interval": _INTERVAL, "__interval": _INTERVAL, "__interval_ms": "300000",
        "__range": f"{span:.0f}s", "__range_s": f"{span:.0f}", "__range_ms": f"{1000 * span:.0f}",
    }  # fmt: skip

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in values:
            raise LayoutError(f"The variable ${name[:40]} has no value here: write a query that needs none.")
        return values[name]

    return re.sub(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::\w+)?\})", value, expr)


@functools.lru_cache(maxsize=2048)
def samples(expr: str, span: float, recording: str, moments: tuple[float, ...]) -> Samples:
    """What a query returns of the recording of that name at `moments` (unix seconds): the series with any sample.

    Raises LayoutError. Do not change what comes back: it is kept.
    """
    import numpy as np

    from shared.observability.promql import QueryError, evaluate
    from shared.observability.recording import load

    try:
        text = filled(expr, span)
        _refuse_long_subqueries(text)
        found = evaluate(text, load(recording), np.array(moments))
    except QueryError as error:
        raise LayoutError(str(error)) from None
    return tuple((labels, tuple(values.tolist())) for labels, values in found if not np.isnan(values).all())


def reading(panel: Panel, span: float, recording: str, moments: tuple[float, ...]) -> Samples:
    """What a panel of single values shows when the dashboard's range ends at `moments`: a value per series and moment.

    A range query's values are reduced by the panel's `calc` over `span`; the last value is that of the moment. Raises
    LayoutError.
    """
    import numpy as np

    shown: list[tuple[dict[str, str], tuple[float, ...]]] = []
    for query in panel.queries:
        if panel.calc not in _CALCS:
            raise LayoutError(
                f"The panel reduces its values by {panel.calc[:40]!r}, which is none of {', '.join(_CALCS)}."
            )
        if query.instant or panel.calc.startswith("last"):
            shown += samples(query.expr, span, recording, moments)
            continue
        grid = np.linspace(-span, 0.0, 121)
        at_each = [samples(query.expr, span, recording, tuple((grid + moment).tolist())) for moment in moments]
        for labels in (labels for labels, _ in at_each[0]):
            over_time = [dict(_keyed(one)).get(_key(labels), (math.nan,)) for one in at_each]
            shown.append((labels, tuple(_reduced(panel.calc, np.array(values)) for values in over_time)))
    return tuple(shown)


def _key(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _keyed(series: Samples) -> Iterator[tuple[tuple[tuple[str, str], ...], tuple[float, ...]]]:
    return ((_key(labels), values) for labels, values in series)


def _reduced(calc: str, values: Any) -> float:
    there = values[values == values]
    if not len(there):
        return math.nan
    return float(there[0] if calc.startswith("first") else getattr(there, calc)())


def _refuse_long_subqueries(expr: str) -> None:
    from shared.observability.promql_syntax import Subquery, children, parse

    def steps(node: Any) -> int:
        own = math.ceil(node.length / (node.step or 60_000)) if isinstance(node, Subquery) else 1
        return own * max((steps(child) for child in children(node)), default=1)

    if steps(parse(expr)) > MAX_STEPS:
        raise LayoutError(f"A subquery has at most {MAX_STEPS:,} steps here.")


# Rows


def _sections(entries: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Row panels and what belongs to them; what stands before the first is a row without a title."""
    title, members, named = "", [], False
    for entry in entries:
        if _text(entry.get("type")) != "row":
            members.append(entry)
            continue
        if named or members:
            yield title, members
        title, named = _text(entry.get("title")), True
        members = [_dict(one, "a panel") for one in _list(entry.get("panels"), "a row's panels")]
    if named or members:
        yield title, members


def _lines(entries: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Panels at one height, from the left to the right."""
    panels = sorted((one for one in entries if _text(one.get("type")) != "row"), key=_place)
    for _, members in groupby(panels, key=lambda one: _place(one)[0]):
        yield "", list(members)


def _place(entry: dict[str, Any]) -> tuple[float, float]:
    place = _dict(entry.get("gridPos"), "gridPos")
    return _number(place.get("y"), 0.0), _number(place.get("x"), 0.0)


# Panels


def _panel(entry: dict[str, Any]) -> Panel:
    options = _dict(entry.get("options"), "options")
    defaults = _dict(_dict(entry.get("fieldConfig"), "fieldConfig").get("defaults"), "fieldConfig.defaults")
    thresholds = _dict(defaults.get("thresholds"), "thresholds")
    steps = [_dict(one, "a threshold") for one in _list(thresholds.get("steps"), "steps")][:40]
    calcs = _list(_dict(options.get("reduceOptions"), "reduceOptions").get("calcs"), "calcs")
    targets = [_dict(one, "a query") for one in _list(entry.get("targets"), "a panel's queries")]
    source = _source(entry.get("datasource"))
    return Panel(
        _text(entry.get("title")),
        _text(entry.get("type")),
        tuple(_query(one, source) for one in targets if one.get("hide") is not True),
        tuple((_number(one.get("value"), -math.inf), _text(one.get("color"))) for one in steps),
        _text(thresholds.get("mode")) or "absolute",
        _text(options.get("colorMode")) or "value",
        _text(_dict(defaults.get("color"), "color").get("mode")) or "thresholds",
        (_text(calcs[0]) if calcs else "") or "lastNotNull",
        _text(defaults.get("unit")),
    )


def _query(target: dict[str, Any], source: str) -> Query:
    instant = target.get("instant") is True
    spoken = target.get("range")
    return Query(
        _text(target.get("expr")),
        _source(target.get("datasource")) or source,
        instant,
        spoken is True or (spoken is None and not instant),
        _text(target.get("legendFormat")),
    )


def _source(value: Any) -> str:
    """The uid in a reference to a data source; old dashboards write it as a bare text."""
    return value if isinstance(value, str) else _text(_dict(value, "datasource").get("uid"))


def _span(since: str) -> float:
    found = re.fullmatch(r"now-(\d{1,4})([smhdw])", since)
    return float(int(found[1]) * _UNITS[found[2]]) if found and int(found[1]) else 6 * 3600.0


# Untrusted values


def _dict(value: Any, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise LayoutError(f"In the dashboard's JSON, {what} is not an object.")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise LayoutError(f"In the dashboard's JSON, {what} are not a list.")
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
