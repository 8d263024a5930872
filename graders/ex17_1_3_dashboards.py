"""The checks of 17.1.3: a dashboard, read from its own JSON and looked at while recorded incidents happen.

Invariant: a verdict depends on the dashboard's JSON alone. A driver builds the dashboard, records that JSON in pieces
and the moments at which somebody looks; the judge puts the text together, reads its rows, and evaluates its queries as
Prometheus would. A query is evaluated once per recording and process.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from graders.kit import Check, History, Mismatch, World

if TYPE_CHECKING:
    from shared.observability.dashboard_layout import Layout, Panel, Query, Samples

REFERENCE = "shared.observability.dashboard"

MOST_CHARACTERS = 200_000
SIZES = (3, 4, 2, 3)
STAGES = ("load", "decode", "resize", "store")
TYPES = ("db", "timeout", "decode")

_ROWS = "Hint 1: rows and panels"
_QUERIES = "Hint 2: the queries"
_COLOURS = "Hint 3: the colours"

_PIECE = 1_000  # characters of the JSON in one string of the record
_MINUTE = 60.0
_LOOKS = (
    (-10 * _MINUTE, "10 min before the incident"),
    (20 * _MINUTE, "20 min into the incident"),
    (40 * _MINUTE, "40 min into the incident"),
    (65 * _MINUTE, "20 min after its end"),
)
"""When somebody looks: seconds from the onset, and the words for it."""
_INSIDE = (1, 2)
_READ = ((0.0, "its JSON is read"),)

INCIDENTS = {
    "slow-stage": "the resize stage is too slow for the traffic, and p99 is 2.4 s and more",
    "slow-requests": "5 % of the requests take 3.5 s",
    "near-slo": "3 % of the requests take 0.95 s: close to the SLO, and below",
    "slow-route": "1.5 % of the requests of one route take 3.5 s: 0.6 % of all",
    "errors-20": "20 % of the requests fail",
    "errors-2": "2 % of the requests fail",
    "traffic-x4": "four times the traffic, and all are served well",
    "traffic-32": "traffic falls to 32 requests/s",
    "traffic-12": "traffic falls to 12 requests/s",
    "stage-saturated": "the store stage works at 100 %, and users notice nothing",
}
_LIGHTS = ("p99 latency", "error ratio", "throughput")
_KINDS = {"green": "accepted", "yellow": "slow", "red": "failed"}

_FAMILIES = {
    "requests_failed_total": "failed requests",
    "requests_total": "requests",
    "request_duration_seconds": "request durations",
    "worker_pool_queue_size": "queue sizes",
    "worker_pool_workers_active": "active workers",
    "worker_pool_workers_max": "the most workers",
    "worker_pool_rejected_total": "rejected tasks",
    "process_cpu_seconds_total": "CPU time",
    "process_resident_memory_bytes": "memory",
}
_PLAN: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("row 1, panel 1: p99 latency", ("request_duration_seconds",), ("stat", "gauge")),
    ("row 1, panel 2: error ratio", ("requests_failed_total",), ("stat", "gauge")),
    ("row 1, panel 3: throughput", ("requests_total", "request_duration_seconds"), ("stat", "gauge")),
    ("row 2, panel 1: queue size per stage", ("worker_pool_queue_size",), ()),
    ("row 2, panel 2: active workers and their maximum", ("worker_pool_workers_active", "worker_pool_workers_max"), ()),
    ("row 2, panel 3: CPU", ("process_cpu_seconds_total",), ()),
    ("row 2, panel 4: memory", ("process_resident_memory_bytes",), ()),
    ("row 3, panel 1: heatmap of latencies", ("request_duration_seconds",), ("heatmap",)),
    ("row 3, panel 2: p50, p90, p99", ("request_duration_seconds",), ()),
    ("row 4, panel 1: errors by type", ("requests_failed_total",), ()),
    ("row 4, panel 2: top 5 errors", ("requests_failed_total",), ()),
    ("row 4, panel 3: log stream of errors", (), ("logs",)),
)
"""The panels in their order: what they are, the metrics of which they show one, and the types that they may have."""
_COUNTER = re.compile(r"_(total|bucket|count|sum)$")
_BOTH = 4  # the panel that needs both of its metrics
_LOGS = len(_PLAN) - 1


def _of(*names: str) -> tuple[dict[str, str], ...]:
    return tuple({"recording": name} for name in names)


class _DashboardCheck(Check):
    """Records the dashboard and the looks at it during one recording; `judge_layout` is given its rows."""

    always = _of("slow-stage")
    scenarios = st.sampled_from(always)
    examples = 1
    looks: tuple[tuple[float, str], ...] = _LOOKS
    light: int | None = None  # the panel of row 1 whose colours are expected in the record

    def drive(self, answer: Any, scenario: dict[str, str], world: World) -> None:
        event = world.call("build_dashboard()", _pieces, answer)
        event["who"] = "dashboard"
        if isinstance(event.get("value"), list):
            event.update(pieces=event["value"], value="a Dashboard")
        for place, (moment, words) in enumerate(self.looks):
            world.sleep(max(0.0, moment - self.looks[0][0] - world.now))
            kind = "note"
            if self.light is not None:
                colour = _expected(self.light, scenario["recording"]) if place in _INSIDE else "green"
                if colour:
                    kind, words = _KINDS[colour], f"{words}: {_LIGHTS[self.light]} is {colour}"
            world.record(words, kind, moment=moment)["who"] = scenario["recording"] or "dashboard"

    def judge(self, scenario: dict[str, str], history: History) -> None:
        looks = [event.get("moment") for event in history[1:]]
        if not history or looks != [moment for moment, _ in self.looks]:
            raise Mismatch(
                expected=f"a record of the dashboard and of {len(self.looks)} looks at it",
                observed=f"{len(history)} events",
            )
        self.judge_layout(scenario["recording"], _layout(history[0]))

    def judge_layout(self, name: str, layout: Layout) -> None:
        """Raise Mismatch where the dashboard breaks the property during the recording `name`."""
        raise NotImplementedError

    def describe(self, scenario: dict[str, str]) -> str:
        return f"{INCIDENTS[scenario['recording']]}, for 45 min after 4 h of quiet"


class _Static(_DashboardCheck):
    """Looks at no recording: the JSON says it all."""

    always = _of("")
    scenarios = st.sampled_from(always)
    looks = _READ

    def describe(self, scenario: dict[str, str]) -> str:
        return "the dashboard as it was built"


# From the answer to rows of panels


def _pieces(build: Callable[[], Any]) -> Any:
    """The dashboard's JSON in pieces, or the type of what is no built dashboard."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    built = build()
    if not isinstance(built, Dashboard):
        return {"type": type(built).__name__, "builder": callable(getattr(built, "build", None))}
    text = json.dumps(built, cls=JSONEncoder, separators=(",", ":"))
    return [text[start : start + _PIECE] for start in range(0, min(len(text), MOST_CHARACTERS + _PIECE), _PIECE)]


def _layout(event: dict[str, Any]) -> Layout:
    from shared.observability.dashboard_layout import LayoutError, read

    expected = "build_dashboard() to return a built Dashboard"
    if event.get("outcome") == "raised":
        raise Mismatch(
            expected=expected, observed=f"it raised {event.get('error')}: {str(event.get('message'))[:300]}", at=0
        )
    value, pieces = event.get("value"), event.get("pieces")
    if event.get("outcome") == "returned" and isinstance(value, dict):
        more = ": a builder; call its build()" if value.get("builder") is True else ""
        raise Mismatch(expected=expected, observed=f"it returned a {str(value.get('type'))[:60]}{more}", at=0)
    if event.get("outcome") != "returned" or not isinstance(pieces, list):
        raise Mismatch(expected="a record of the dashboard", observed="an event without it", at=0)
    if not all(isinstance(piece, str) and len(piece) <= _PIECE for piece in pieces):
        raise Mismatch(expected="a record of the dashboard", observed="one that is damaged", at=0)
    try:
        return read("".join(pieces))
    except LayoutError as error:
        raise Mismatch(expected="a dashboard that can be read", observed=str(error), at=0) from None


def _found(layout: Layout, place: int) -> Panel:
    """The panel at a place of the plan."""
    row, column = next((number, place - sum(SIZES[:number])) for number in range(4) if place < sum(SIZES[: number + 1]))
    if row >= len(layout.rows) or column >= len(layout.rows[row].panels):
        raise Mismatch(expected=_PLAN[place][0], observed=f"there is none: {_sizes(layout)}", at=0)
    return layout.rows[row].panels[column]


def _sizes(layout: Layout) -> str:
    return f"rows of {', '.join(str(len(row.panels)) for row in layout.rows)} panels" if layout.rows else "no panels"


def _metrics(panel: Panel) -> set[str]:
    """The families of metrics that the panel's queries name."""
    text = " ".join(query.expr for query in panel.queries)
    return {name for name in _FAMILIES if re.search(rf"\b{name}(_bucket|_sum|_count)?\b", text)}


def _titled(panel: Panel) -> str:
    return f"the panel {panel.title[:60]!r}" if panel.title else "the panel without a title"


def _shown(panel: Panel, query: Query, layout: Layout, name: str, moments: tuple[float, ...]) -> Samples:
    from shared.observability.dashboard_layout import LayoutError, samples

    try:
        return samples(query.expr, layout.span, name, moments)
    except LayoutError as error:
        raise Mismatch(
            expected=f"{_titled(panel)} to have queries that Prometheus answers", observed=_refused(query, error), at=0
        ) from None


def _refused(query: Query, error: Exception) -> str:
    return f"{query.expr[:160]!r} is refused: {error}" if query.expr.strip() else "a query without an expression"


def _moments(name: str, *places: int) -> tuple[float, ...]:
    """Unix seconds of the looks (all, or those at `places`)."""
    from shared.observability.recording import load

    onset = load(name).onset
    assert onset is not None
    return tuple(onset + moment for moment, _ in ([_LOOKS[place] for place in places] or _LOOKS))


def _all_shown(panel: Panel, layout: Layout, name: str, place: int) -> Iterator[tuple[Query, dict[str, str], float]]:
    """(query, labels, value) of each series of a panel at one look."""
    for query in panel.queries:
        for labels, (value,) in _shown(panel, query, layout, name, _moments(name, place)):
            yield query, labels, value


def _value(value: float) -> str:
    return "no number" if math.isnan(value) else f"{value:.4g}"


def _named(query: Query, labels: dict[str, str], label: str, known: tuple[str, ...]) -> str | None:
    """Which of `known` a series is about: by its label, or by what its query selects."""
    if label in labels:
        return labels[label]
    return next((one for one in known if re.search(rf'\b{label}\s*=~?\s*["\'`]{one}["\'`]', query.expr)), None)


# The checks


class FourRowsInOrder(_Static):
    """Four rows of exactly 3, 4, 2 and 3 panels, and each panel shows what stands at its place."""

    hint = _ROWS

    def judge_layout(self, name: str, layout: Layout) -> None:
        if tuple(len(row.panels) for row in layout.rows) != SIZES:
            raise Mismatch(expected="rows of 3, 4, 2, 3 panels", observed=_sizes(layout), at=0)
        for place, (what, wanted, kinds) in enumerate(_PLAN):
            panel = _found(layout, place)
            if kinds and panel.kind not in kinds:
                raise Mismatch(
                    expected=f"{what}, a panel of type {' or '.join(kinds)}",
                    observed=f"{_titled(panel)} has type {panel.kind[:40] or '(none)'}",
                    at=0,
                )
            there = _metrics(panel)
            strange = place == 2 and "requests_failed_total" in there  # a ratio is no throughput
            if wanted and there and (strange or not there & set(wanted)):
                shown = " and ".join(_FAMILIES[one] for one in sorted(there))
                raise Mismatch(expected=what, observed=f"{_titled(panel)} shows {shown}", at=0)
            if place == _BOTH and there and not there >= set(wanted):
                lacking = min(set(wanted) - there)
                raise Mismatch(expected=what, observed=f"{_titled(panel)} does not show {lacking}", at=0)


class EveryQueryReturnsData(_DashboardCheck):
    """Prometheus understands every query, and each returns data while the pipeline runs."""

    hint = _QUERIES
    always = _of("errors-20")
    scenarios = st.sampled_from(always)

    def judge_layout(self, name: str, layout: Layout) -> None:
        first, _, last, _ = _moments(name)
        grid = tuple(first + (last - first) * step / 10 for step in range(11))
        panels = [panel for row in layout.rows for panel in row.panels]
        for panel in panels:
            if not any(query.expr.strip() for query in panel.queries):
                raise Mismatch(expected=f"{_titled(panel)} to have a query", observed="it has none", at=0)
        for panel in panels:
            for query in panel.queries if panel.kind != "logs" else ():
                if not _shown(panel, query, layout, name, grid):
                    raise Mismatch(
                        expected=f"{_titled(panel)} to show data",
                        observed=f"{query.expr[:200]!r} returns nothing in 50 minutes",
                        at=1,
                    )


class RowOneNeedsNoNumbers(_Static):
    """Row 1 tells by colour alone: the whole panel turns green, yellow and red, at the values that were agreed on."""

    hint = _COLOURS

    probes = (
        ((0.0, "green"), (0.39, "green"), (0.9, "yellow"), (0.999, "yellow"), (1.0, "red"), (3.6, "red")),
        ((0.0, "green"), (0.0099, "green"), (0.01, "yellow"), (0.049, "yellow"), (0.05, "red"), (1.0, "red")),
        ((0.0, "red"), (24.9, "red"), (25.0, "yellow"), (39.9, "yellow"), (40.0, "green"), (200.0, "green")),
    )
    units = ("{:g} s", "{:g}", "{:g} requests/s")

    def judge_layout(self, name: str, layout: Layout) -> None:
        from shared.observability.dashboard_layout import colour_of

        for place, probes in enumerate(self.probes):
            panel = _found(layout, place)
            if not panel.steps:
                raise Mismatch(expected=f"{_titled(panel)} to have thresholds", observed="it has none", at=0)
            if panel.threshold_mode != "absolute":
                raise Mismatch(
                    expected=f"{_titled(panel)} to have absolute thresholds",
                    observed=f"their mode is {panel.threshold_mode[:40]!r}, relative to minimum and maximum",
                    at=0,
                )
            for value, colour in probes:
                if (got := colour_of(panel.steps, value)) != colour:
                    shown = self.units[place].format(value)
                    raise Mismatch(
                        expected=f"{_titled(panel)} to be {colour} at {shown}",
                        observed=f"it is {str(got)[:40]} there; its steps are {_steps(panel)}",
                        at=0,
                    )
            if panel.kind != "gauge" and panel.colour_mode not in ("background", "background_solid"):
                raise Mismatch(
                    expected=f"{_titled(panel)} to colour its background",
                    observed=f"its colour mode is {panel.colour_mode[:40]!r}: one has to read the number to see it",
                    at=0,
                )
            if panel.scheme != "thresholds":
                raise Mismatch(
                    expected=f"{_titled(panel)} to take its colour from the thresholds",
                    observed=f"its colour scheme is {panel.scheme[:40]!r}",
                    at=0,
                )


def _steps(panel: Panel) -> str:
    return ", ".join(
        f"{colour[:20]} {'below' if start == -math.inf else f'from {start:g}'}" for start, colour in panel.steps[:6]
    )


def _expected(light: int, name: str) -> str:
    """The colour of a panel of row 1 inside an incident; "" where it depends on what the panel may show."""
    table: tuple[dict[str, str], ...] = (
        {"near-slo": "yellow", "slow-requests": "red", "slow-stage": "red", "slow-route": ""},
        {"errors-2": "yellow", "errors-20": "red"},
        {"traffic-32": "yellow", "traffic-12": "red"},
    )
    return table[light].get(name, "green")


class _Light(_DashboardCheck):
    """One panel of row 1 has the right colour before, inside and after every incident."""

    hint = _QUERIES  # steps that are wrong fail RowOneNeedsNoNumbers as well, which names the colours
    light: int
    values: Mapping[str, tuple[tuple[float, float], ...]] = {}
    """Between which values it lies inside an incident in which other quantities have its colour, too."""

    def judge_layout(self, name: str, layout: Layout) -> None:
        from shared.observability.dashboard_layout import LayoutError, colour_of, reading

        panel = _found(layout, self.light)
        if len(panel.queries) != 1:
            raise Mismatch(
                expected=f"{_titled(panel)} to have one query", observed=f"it has {len(panel.queries)}", at=0
            )
        try:
            series = reading(panel, layout.span, name, _moments(name))
        except LayoutError as error:
            raise Mismatch(
                expected=f"{_titled(panel)} to have a query that Prometheus answers",
                observed=_refused(panel.queries[0], error),
                at=0,
            ) from None
        shown = []
        for place, (_, words) in enumerate(_LOOKS):
            colour = _expected(self.light, name) if place in _INSIDE else "green"
            expected = f"{_titled(panel)} is {colour or 'lit'} {words}"
            there = [(labels, values[place]) for labels, values in series if not math.isnan(values[place])]
            if len(there) != 1:
                told = "; ".join(f"{_labels(labels)}: {_value(value)}" for labels, value in there[:3])
                observed = f"it shows {len(there)} values, not one ({told})" if there else "it shows no value"
                raise Mismatch(expected=expected, observed=observed, at=1 + place)
            value = there[0][1]
            got = colour_of(panel.steps, value)
            if colour and got != colour:
                raise Mismatch(
                    expected=expected,
                    observed=f"it is {str(got or 'without a colour')[:40]}: its value is {_value(value)}",
                    at=1 + place,
                )
            shown.append(value)
        for place in _INSIDE if name in self.values else ():
            if not any(low <= shown[place] <= high for low, high in self.values[name]):
                between = " or ".join(f"between {low:g} and {high:g}" for low, high in self.values[name])
                raise Mismatch(
                    expected=f"{_titled(panel)} to show a value {between} {_LOOKS[place][1]}",
                    observed=f"its value is {_value(shown[place])}: another quantity, whatever its colour",
                    at=1 + place,
                )


def _labels(labels: dict[str, str]) -> str:
    told = {key: text for key, text in labels.items() if key not in ("__name__", "instance", "job")}
    return ", ".join(f"{key} {text}" for key, text in told.items())[:80] or "no labels"


class LatencyTurnsWithP99(_Light):
    """The latency panel is green below the SLO, yellow close to it and red above it."""

    always = _of("slow-requests", "near-slo", "slow-stage", "slow-route", "traffic-x4", "errors-20")
    scenarios = st.sampled_from(always)
    light = 0
    values = {"slow-requests": ((4.13, 4.87),), "slow-route": ((0.28, 0.42), (2.5, 5.0))}  # all, or the worst route


class ErrorsTurnWithTheRatio(_Light):
    """The error panel is yellow when 2 % of all requests fail, red at 20 %, and green otherwise."""

    always = _of("errors-20", "errors-2", "traffic-x4", "slow-stage")
    scenarios = st.sampled_from(always)
    light = 1
    values = {"errors-20": ((0.184, 0.216),)}


class ThroughputTurnsWithTheTraffic(_Light):
    """The throughput panel is yellow at 32 requests/s, red at 12, and green from 40 on, however many they are."""

    always = _of("traffic-12", "traffic-32", "traffic-x4", "errors-20")
    scenarios = st.sampled_from(always)
    light = 2
    values = {"traffic-x4": ((184.0, 216.0),)}


class BottleneckIsVisible(_DashboardCheck):
    """The queue panel draws one line per stage, and the highest one is the stage that is the bottleneck."""

    hint = _QUERIES
    always = _of("slow-stage", "stage-saturated")
    scenarios = st.sampled_from(always)
    narrow = {"slow-stage": "resize", "stage-saturated": "store"}

    def judge_layout(self, name: str, layout: Layout) -> None:
        panel, stage = _found(layout, 3), self.narrow[name]
        expected = f"{_titled(panel)} to show one line for each of {', '.join(STAGES)}"
        for place in _INSIDE:
            queues: dict[str, float] = {}
            count = 0
            for query, labels, value in _all_shown(panel, layout, name, place):
                count += 1
                if (about := _named(query, labels, "stage", STAGES)) is not None:
                    queues[about] = value
            if count != len(STAGES) or set(queues) != set(STAGES):
                told = f", by stage: {', '.join(sorted(queues))[:80]}" if queues else ", none by stage"
                lines = "1 line" if count == 1 else f"{count} lines"
                raise Mismatch(expected=expected, observed=f"{lines}{told}", at=1 + place)
            highest = max(queues, key=lambda one: queues[one])
            if highest != stage or sorted(queues.values())[-2] >= queues[stage]:
                told = ", ".join(f"{one} {_value(value)}" for one, value in queues.items())
                raise Mismatch(
                    expected=f"{stage} to be the highest line of {_titled(panel)}", observed=told, at=1 + place
                )


class CountersAreRates(_Static):
    """What only ever grows is shown as a rate, and nothing else is: no bare counters, no rates of gauges."""

    hint = _QUERIES

    def judge_layout(self, name: str, layout: Layout) -> None:
        from shared.observability.dashboard_layout import LayoutError, filled
        from shared.observability.promql import QueryError, parse

        for row in layout.rows:
            for panel in row.panels:
                for query in panel.queries if panel.kind != "logs" else ():
                    try:
                        tree = parse(filled(query.expr, layout.span))
                    except (LayoutError, QueryError):
                        continue  # another check says so
                    if (gauge := _rated_gauge(tree)) is not None:
                        raise Mismatch(
                            expected=f"{_titled(panel)} to show {gauge} itself: it is a gauge, which falls, too",
                            observed=f"{query.expr[:160]!r} takes each fall for a restart",
                            at=0,
                        )
                    if (bare := _bare_counter(tree)) is not None:
                        counter, too_late = bare
                        late = "takes the rate last: one restart looks like a fall of all counters together"
                        raise Mismatch(
                            expected=f"{_titled(panel)} to show how fast {counter} grows",
                            observed=f"{query.expr[:160]!r} {late if too_late else 'shows the counter itself'}",
                            at=0,
                        )


def _bare_counter(tree: Any) -> tuple[str, bool] | None:
    """The name of a counter in `tree` of which no range is taken, and whether a rate comes after, by a subquery; None
    where the expression subtracts an older value itself, by `offset`."""
    from shared.observability.promql_syntax import Range, Selector, Subquery, children

    bare: list[tuple[str, bool]] = []
    shifted = False
    ahead = [(tree, False)]
    while ahead:
        node, in_subquery = ahead.pop()
        if isinstance(node, Range) or (isinstance(node, Subquery) and isinstance(node.expr, Selector)):
            continue
        if isinstance(node, Selector):
            shifted |= bool(node.offset)
            bare += [(one, in_subquery) for one in _selected(node) if _COUNTER.search(one)]
        ahead.extend((child, in_subquery or isinstance(node, Subquery)) for child in children(node))
    return bare[0] if bare and not shifted else None


def _rated_gauge(tree: Any) -> str | None:
    """The name of a gauge of which `tree` takes a rate."""
    from shared.observability.promql_syntax import Call, Range, children

    ahead = [tree]
    while ahead:
        node = ahead.pop()
        if isinstance(node, Call) and node.name in ("rate", "irate", "increase") and isinstance(node.args[0], Range):
            for one in _selected(node.args[0].selector):
                if not _COUNTER.search(one):
                    return one
        ahead.extend(children(node))
    return None


def _selected(selector: Any) -> list[str]:
    """The metric that a selector names, if it does."""
    return [one.value[:80] for one in selector.matchers if (one.label, one.op) == ("__name__", "=")]


class LatenciesAreDistributed(_DashboardCheck):
    """Row 3 shows how latencies are distributed: the buckets by `le`, and p50, p90 and p99 over time."""

    hint = _QUERIES
    always = _of("slow-requests")
    scenarios = st.sampled_from(always)
    expected = {"p50": (0.06, 0.15), "p90": (0.11, 0.27), "p99": (2.6, 5.0)}
    """Where each lies 20 minutes into the incident, per route or in all, in seconds."""

    def judge_layout(self, name: str, layout: Layout) -> None:
        place = _INSIDE[0]
        panel = _found(layout, 7)
        buckets = {labels.get("le") for _, labels, _ in _all_shown(panel, layout, name, place)}
        if len(buckets - {None}) < 5:
            raise Mismatch(
                expected=f"{_titled(panel)} to show the buckets of the histogram, by le",
                observed=f"{len(buckets - {None})} buckets: le is {'lost' if None in buckets else 'not there'}",
                at=1 + place,
            )
        panel = _found(layout, 8)
        values = sorted(value for _, _, value in _all_shown(panel, layout, name, place))
        for what, (low, high) in self.expected.items():
            if not any(low <= value <= high for value in values):
                told = ", ".join(f"{_value(value)} s" for value in values[:6]) or "nothing"
                raise Mismatch(
                    expected=f"{_titled(panel)} to show {what}, between {low} and {high} s", observed=told, at=1 + place
                )


class ErrorsAreSplitByType(_DashboardCheck):
    """The errors by type are a line per type: db, timeout and decode."""

    hint = _QUERIES
    always = _of("errors-20")
    scenarios = st.sampled_from(always)

    def judge_layout(self, name: str, layout: Layout) -> None:
        panel, place = _found(layout, 9), _INSIDE[0]
        types = {_named(query, labels, "type", TYPES) for query, labels, _ in _all_shown(panel, layout, name, place)}
        if not types >= set(TYPES):
            told = ", ".join(sorted(one for one in types if one)) or "no type at all"
            raise Mismatch(
                expected=f"{_titled(panel)} to show {', '.join(TYPES)}", observed=f"it shows {told}", at=1 + place
            )


class TopFiveIsAnInstantQuery(_DashboardCheck):
    """The top 5 are the five most frequent errors of now: at most five, by an instant query."""

    hint = _QUERIES
    always = _of("errors-20")
    scenarios = st.sampled_from(always)

    def judge_layout(self, name: str, layout: Layout) -> None:
        panel, place = _found(layout, 10), _INSIDE[0]
        shown = list(_all_shown(panel, layout, name, place))
        if not 1 <= len(shown) <= 5:
            raise Mismatch(
                expected=f"{_titled(panel)} to list 1 to 5 errors", observed=f"it lists {len(shown)}", at=1 + place
            )
        for query in panel.queries:
            if query.range or not query.instant:
                seen = {tuple(sorted(labels.items())) for labels, _ in _over_time(panel, query, layout, name)}
                raise Mismatch(
                    expected=f"{_titled(panel)} to ask an instant query",
                    observed="a range query, which chooses the top anew at every step: "
                    f"{len(seen)} series in the last 50 minutes",
                    at=1 + place,
                )
        first = max(shown, key=lambda one: one[2])
        about = _named(first[0], first[1], "type", TYPES)
        if about != "db":
            raise Mismatch(
                expected=f"db to lead {_titled(panel)}: 17 % of the requests fail by it",
                observed=f"{about or _labels(first[1])} leads, with {_value(first[2])}",
                at=1 + place,
            )


def _over_time(panel: Panel, query: Query, layout: Layout, name: str) -> Samples:
    first, _, last, _ = _moments(name)
    return _shown(panel, query, layout, name, tuple(first + (last - first) * step / 40 for step in range(41)))


class DataSourcesAreNamed(_Static):
    """Every query names its data source by uid: `loki` for the logs, `prometheus` for all others."""

    hint = _ROWS

    def judge_layout(self, name: str, layout: Layout) -> None:
        for row in layout.rows:
            for panel in row.panels:
                wanted = "loki" if panel.kind == "logs" else "prometheus"
                for query in panel.queries:
                    if query.source != wanted:
                        got = f"{query.source[:60]!r}" if query.source else "no uid"
                        raise Mismatch(
                            expected=f"{_titled(panel)} to ask the data source with the uid {wanted!r}",
                            observed=got,
                            at=0,
                        )
        logs = _found(layout, _LOGS)
        if logs.kind != "logs":
            raise Mismatch(
                expected="row 4 to end with a panel of type logs",
                observed=f"{_titled(logs)} has type {logs.kind[:40]}",
                at=0,
            )
