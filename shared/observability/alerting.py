"""Prometheus rule files read strictly, and their alerts fired over recorded metrics.

Invariant: `parse_rules` accepts what `promtool check rules` 2.42 accepts, within limits of size and of the evaluator's
PromQL, and refuses everything else with one sentence; `fire` gives an alert the states that Prometheus would give it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml

from shared.observability.promql import Evaluation, QueryError, parse
from shared.observability.promql_series import Labels, Store, Vector, merged, milliseconds, without_name
from shared.observability.promql_syntax import Expression, Selector, children, compile_regex, kind
from shared.observability.recording import Recording

__all__ = ["Alert", "AlertRule", "RecordingRule", "RuleGroup", "RuleSet", "RulesError", "fire", "parse_rules"]

MAX_CHARACTERS = 60_000
MAX_NODES = 8_000  # of the YAML document, aliases written out
MAX_DEPTH = 20
MAX_RULES = 200
MAX_EPISODES = 100_000
DEFAULT_INTERVAL = 60.0  # seconds between evaluations: Prometheus' default
LARGEST_DURATION = 9_223_372_036_854  # ms: what fits into Go's int64 nanoseconds


class RulesError(ValueError):
    """The rule file is refused, or a rule cannot be evaluated; the message is one sentence for its author."""


@dataclass(frozen=True)
class RecordingRule:
    record: str
    expr: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AlertRule:
    """`hold` is the rule's `for`. Both times are in seconds."""

    alert: str
    expr: str
    hold: float = 0.0
    keep_firing_for: float = 0.0
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


Rule = RecordingRule | AlertRule


@dataclass(frozen=True)
class RuleGroup:
    """`interval` in seconds, None where the file leaves it to the server; `limit` 0 means none."""

    name: str
    interval: float | None
    limit: int
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class RuleSet:
    groups: tuple[RuleGroup, ...]

    @property
    def alerts(self) -> tuple[AlertRule, ...]:
        """All alert rules in the order of the file."""
        return tuple(rule for group in self.groups for rule in group.rules if isinstance(rule, AlertRule))


@dataclass(frozen=True)
class Alert:
    """One episode of one alert: active from `pending`, firing from `firing` (None: it never did), over at `resolved`
    (None: still active at the end). All are instants of evaluation, in unix seconds. `labels` include "alertname";
    annotations are the rule's text, templates and all."""

    name: str
    labels: dict[str, str]
    annotations: dict[str, str]
    pending: float
    firing: float | None
    resolved: float | None


def parse_rules(yaml_text: str) -> RuleSet:
    """The rules of a Prometheus rule file. Raises RulesError: one sentence that says what Prometheus would refuse."""
    document = _document(yaml_text)
    if document is None:
        return RuleSet(())
    if not isinstance(document, dict):
        raise RulesError(_not_a_rule_file(document))
    _only(document, {"groups"}, "A rule file")
    groups: dict[str, RuleGroup] = {}
    for place, entry in enumerate(_list(document.get("groups"), "groups"), start=1):
        group = _group(entry, place)
        if group.name in groups:
            raise RulesError(f"Two groups are named {group.name!r}: a group's name is unique in its file.")
        groups[group.name] = group
    if sum(len(group.rules) for group in groups.values()) > MAX_RULES:
        raise RulesError(f"The file has more than {MAX_RULES} rules.")
    return RuleSet(tuple(groups.values()))


def fire(rules: RuleSet, recording: Recording, every: float | None = None) -> list[Alert]:
    """The alerts that the rules raise over the recording, in order of `pending`, then of the file.

    A group is evaluated every `interval` that it names, else `every` seconds (default 60), from the recording's first
    instant to its last. A rule sees what rules before it recorded at the same instant, ALERTS included, and what rules
    after it recorded one evaluation earlier. Raises RulesError with one sentence naming the rule. Thread-safe.
    """
    return _Run(rules, recording, every).alerts()


# ---- YAML ----------------------------------------------------------------------------------------------------------

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"


def _document(text: str) -> Any:
    """The first document as dicts, lists, scalars and None. Aliases are written out, within MAX_NODES in all."""
    if not isinstance(text, str):
        raise RulesError(f"Rules are a text of YAML, not {type(text).__name__}.")
    if len(text) > MAX_CHARACTERS:
        raise RulesError(f"A rule file has at most {MAX_CHARACTERS} characters, this one has {len(text)}.")
    try:
        depth = 0
        for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH or count > 2 * MAX_NODES:
                raise RulesError(f"The YAML is too large: at most {MAX_NODES} nodes, nested {MAX_DEPTH} deep.")
            if isinstance(event, yaml.DocumentEndEvent):
                break
        loader = _LOADER(text)
        try:
            root = loader.get_node() if loader.check_node() else None
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise RulesError(f"This is not YAML: {_yaml_problem(error)}.") from None
    except UnicodeError:
        raise RulesError("This is not YAML: it holds characters that are no Unicode text.") from None
    return None if root is None else _plain(root, [0], 0)


def _plain(node: yaml.Node, count: list[int], depth: int) -> Any:
    count[0] += 1
    if count[0] > MAX_NODES or depth > MAX_DEPTH:
        raise RulesError(f"The YAML is too large once its aliases are written out: at most {MAX_NODES} nodes.")
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag == _NULL else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, count, depth + 1) for item in node.value]
    result: dict[str, Any] = {}
    inherited: dict[str, Any] = {}
    for key_node, value_node in node.value:
        value = _plain(value_node, count, depth + 1)
        if key_node.tag == _MERGE:
            for source in value if isinstance(value, list) else [value]:
                if not isinstance(source, dict):
                    raise RulesError("A YAML merge (<<) takes a mapping.")
                inherited = {**source, **inherited}
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            raise RulesError(f"Line {key_node.start_mark.line + 1}: a key is plain text.")
        if key_node.value in result:
            raise RulesError(f"Line {key_node.start_mark.line + 1}: the key {key_node.value!r} is there twice.")
        result[key_node.value] = value
    return {**inherited, **result}


def _yaml_problem(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}: {problem}" if mark is not None else problem


# ---- the file's schema ---------------------------------------------------------------------------------------------

_DURATION = re.compile(
    r"(?:(?P<y>[0-9]+)y)?(?:(?P<w>[0-9]+)w)?(?:(?P<d>[0-9]+)d)?(?:(?P<h>[0-9]+)h)?(?:(?P<m>[0-9]+)m)?(?:(?P<s>[0-9]+)s)?"
    r"(?:(?P<ms>[0-9]+)ms)?\Z"
)
_UNITS = {
    "y": 365 * 86_400_000, "w": 7 * 86_400_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1
}  # fmt: skip
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_RULE_FIELDS = {"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"}


def _not_a_rule_file(document: Any) -> str:
    start = "A rule file is a mapping that starts with groups:"
    if not isinstance(document, list):
        return f"{start}, not a single value."
    for entry in document:
        if isinstance(entry, dict) and (extra := _misplaced(entry)):
            return f"{start}, not a bare list of rules, and in {_title(entry)} {extra}."
    return f"{start}, not a bare list of rules."


def _misplaced(entry: dict[str, Any]) -> str | None:
    """What is wrong with the rule's first unknown field, in words."""
    for key in entry:
        if key not in _RULE_FIELDS:
            if key in ("severity", "signal", "team", "service", "page"):
                return f"{key} stands outside labels: write labels: {{{key}: {entry[key]}}}"
            if key in ("summary", "description", "runbook_url", "runbook"):
                return f"{key} stands outside annotations: write annotations: {{{key}: …}}"
            return f"the field {key} is unknown (a rule has {', '.join(sorted(_RULE_FIELDS))})"
    return None


def _title(entry: dict[str, Any]) -> str:
    if name := entry.get("alert"):
        return f"the alert {str(name)[:80]!r}"
    if name := entry.get("record"):
        return f"the recording rule {str(name)[:80]!r}"
    return "a rule without a name"


def _group(entry: Any, place: int) -> RuleGroup:
    if entry is None:
        raise RulesError(f"Group {place} is empty: a group needs a name.")
    if not isinstance(entry, dict):
        raise RulesError(f"Group {place} is not a mapping with name and rules.")
    name = _string(entry.get("name"), f"the name of group {place}")
    if not name:
        raise RulesError(f"Group {place} has no name.")
    where = f"The group {name[:80]!r}"
    if "labels" in entry:
        raise RulesError(f"{where} has labels, which Prometheus knows from version 3 on: write them at each alert.")
    _only(entry, {"name", "interval", "limit", "rules"}, where)
    interval = _duration(entry.get("interval"), f"the interval of group {name[:80]!r}")
    limit = entry.get("limit")
    if limit is not None and not re.fullmatch(r"[+-]?[0-9]{1,9}", str(limit)):
        raise RulesError(f"{where} has limit: {limit!s:.40}, which is no whole number.")
    entries = _list(entry.get("rules"), f"the rules of group {name[:80]!r}")
    rules = tuple(_rule(one, number, name) for number, one in enumerate(entries, start=1))
    return RuleGroup(name, interval or None, int(limit or 0), rules)


def _rule(entry: Any, number: int, group: str) -> Rule:
    place = f"rule {number} of group {group[:80]!r}"
    if not isinstance(entry, dict):
        raise RulesError(f"{place.capitalize()} is not a mapping.")
    record = _string(entry.get("record"), f"record in {place}")
    alert = _string(entry.get("alert"), f"alert in {place}")
    title = _title(entry) if record or alert else place
    if extra := _misplaced(entry):
        raise RulesError(f"In {title} {extra}.")
    if record and alert:
        raise RulesError(f"In {place} both record and alert are set: a rule is one or the other.")
    if not record and not alert:
        raise RulesError(f"In {place} neither record nor alert is set.")
    expr = _string(entry.get("expr"), f"expr of {title}")
    if not expr:
        raise RulesError(f"In {title} expr is missing.")
    try:
        node = parse(expr)
    except QueryError as error:
        raise RulesError(f"In {title}: {error}") from None
    if kind(node) in ("matrix", "string"):
        raise RulesError(f"In {title} expr is a {kind(node)}: a rule needs an instant vector or a scalar.")
    hold = _duration(entry.get("for"), f"for of {title}")
    keep = _duration(entry.get("keep_firing_for"), f"keep_firing_for of {title}")
    labels = _string_map(entry.get("labels"), f"labels of {title}")
    annotations = _string_map(entry.get("annotations"), f"annotations of {title}")
    for name in labels:
        if not _LABEL_NAME.match(name) or name == "__name__":
            raise RulesError(f"In {title} the label name {name!r} is not allowed.")
    for name in annotations:
        if not _LABEL_NAME.match(name):
            raise RulesError(f"In {title} the annotation name {name!r} is not allowed.")
    if record:
        for name, value in (("for", hold), ("keep_firing_for", keep), ("annotations", annotations)):
            if value:
                raise RulesError(f"In {title} {name} is set: only alerts have it.")
        if not _METRIC_NAME.match(record):
            raise RulesError(f"In {title} the recorded name is no metric name.")
        return RecordingRule(record, expr, labels)
    for name, text in (*labels.items(), *annotations.items()):
        if problem := _template_problem(text):
            raise RulesError(f"In {title} the template of {name} {problem}.")
    return AlertRule(alert, expr, hold or 0.0, keep or 0.0, labels, annotations)


def _only(entry: dict[str, Any], fields: set[str], where: str) -> None:
    for key in entry:
        if key not in fields:
            raise RulesError(f"{where} has the unknown field {key[:80]!r}: it may have {', '.join(sorted(fields))}.")


def _list(value: Any, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise RulesError(f"{what[0].upper()}{what[1:]} must be a list.")
    return value


def _string(value: Any, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RulesError(f"{what[0].upper()}{what[1:]} must be plain text.")
    return value


def _string_map(value: Any, what: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RulesError(f"{what[0].upper()}{what[1:]} must be a mapping of names to text.")
    return {key: _string(text, f"{key} in {what}") for key, text in value.items()}


def _duration(value: Any, what: str) -> float | None:
    """Seconds, as Prometheus' model.ParseDuration reads them; None where the field is absent or null."""
    if value is None:
        return None
    text = _string(value, what)
    found = _DURATION.match(text)
    if text != "0" and (not text or found is None):
        raise RulesError(f"{text[:40]!r} ({what}) is not a duration such as 30s, 5m or 1h30m.")
    total = sum(int(number) * _UNITS[unit] for unit, number in found.groupdict().items() if number) if found else 0
    if total > LARGEST_DURATION:
        raise RulesError(f"{text[:40]!r} ({what}) is longer than Prometheus' 292 years.")
    return total / 1000.0


# ---- templates -----------------------------------------------------------------------------------------------------

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_LABEL_REFERENCE = re.compile(r"\{\{-?\s*(?:\$labels|\.Labels)\.([a-zA-Z_][a-zA-Z0-9_]*)\s*-?\}\}")
_WORDS = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|(\$[a-zA-Z_]\w*|\$)|(\.[a-zA-Z_]\w*)|([a-zA-Z_]\w*)|[^\s]')
_KEYWORDS = {
    "if",
    "else",
    "end",
    "range",
    "with",
    "template",
    "define",
    "block",
    "break",
    "continue",
    "nil",
    "true",
    "false",
}
_FUNCTIONS = {
    "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "html", "js", "urlquery", "call", "eq",
    "ne", "lt", "le", "gt", "ge", "query", "first", "label", "value", "strvalue", "args", "reReplaceAll", "safeHtml",
    "match", "title", "toUpper", "toLower", "graphLink", "tableLink", "sortByLabel", "stripPort", "stripDomain",
    "humanize",
    "humanize1024", "humanizeDuration", "humanizePercentage", "humanizeTimestamp", "pathPrefix", "externalURL",
    "parseDuration", "toTime", "tmpl",
}  # fmt: skip


def _template_problem(text: str) -> str | None:
    """What Go's template parser would object to: unclosed actions, unknown variables and functions."""
    rest = _ACTION.sub("", text)
    if "{{" in rest:
        return "has {{ without }}"
    known = {"$", "$labels", "$value", "$externalLabels", "$externalURL"}
    for action in _ACTION.findall(text):
        if action.startswith("/*"):
            continue
        if not action:
            return "has an empty {{ }}"
        known.update(re.findall(r"(\$\w+)\s*(?:,\s*\$\w+\s*)?:=", action))
        known.update(re.findall(r",\s*(\$\w+)\s*:=", action))
        for variable, _, word in _WORDS.findall(action):
            if variable and variable not in known:
                return (
                    f"uses the unknown variable {variable} (there are $labels, $value, $externalLabels, $externalURL)"
                )
            if word and word not in _KEYWORDS and word not in _FUNCTIONS:
                return f"calls the unknown function {word}"
    return None


def _expanded(text: str, labels: dict[str, str], title: str) -> str:
    """A label's value with {{ $labels.name }} filled in: the only template by which an alert stays the same alert."""
    expanded = _LABEL_REFERENCE.sub(lambda found: labels.get(found[1], ""), text)
    if "{{" in expanded:
        raise RulesError(
            f"In {title} a label uses a template other than {{{{ $labels.name }}}}, which is not supported here."
        )
    return expanded


# ---- firing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Output:
    """A series that a rule writes; `stale` samples end it."""

    labels: Labels
    times: np.ndarray
    values: np.ndarray
    stale: np.ndarray


@dataclass(frozen=True)
class _Placed:
    """A rule at its place in the file."""

    place: int
    rule: Rule
    group: RuleGroup
    node: Expression

    @property
    def title(self) -> str:
        return _title({"alert": self.rule.alert} if isinstance(self.rule, AlertRule) else {"record": self.rule.record})

    def writes_to(self, selector: Selector) -> bool:
        """Whether the selector may see a series that this rule writes."""
        if isinstance(self.rule, RecordingRule):
            return all(m.label != "__name__" or _accepts(m.op, m.value, self.rule.record) for m in selector.matchers)
        written_out = {name: text for name, text in self.rule.labels.items() if "{{" not in text}
        fixed = {**written_out, "alertname": self.rule.alert}
        names = [m for m in selector.matchers if m.label == "__name__"]
        written = any(all(_accepts(m.op, m.value, name) for m in names) for name in ("ALERTS", "ALERTS_FOR_STATE"))
        return written and all(_accepts(m.op, m.value, fixed[m.label]) for m in selector.matchers if m.label in fixed)


class _Run:
    """One evaluation of a rule set over a recording."""

    def __init__(self, rules: RuleSet, recording: Recording, every: float | None) -> None:
        if every is not None and not every > 0:
            raise RulesError("Rules are evaluated every so many seconds: more than 0.")
        self._store = Store.of(recording)
        self._grid = milliseconds(recording.times)
        self._every = every or DEFAULT_INTERVAL
        placed = [(rule, group) for group in rules.groups for rule in group.rules]
        self._rules = [_Placed(place, rule, group, parse(rule.expr)) for place, (rule, group) in enumerate(placed)]
        self._evaluations: dict[int, Evaluation] = {}
        self._outputs: dict[int, list[_Output]] = {}
        self._alerts: list[tuple[float, int, Alert]] = []

    def alerts(self) -> list[Alert]:
        needs = {rule.place: self._producers(rule) for rule in self._rules}
        wanted = {place for places in needs.values() for place in places}
        for place in _ordered(needs, self._rules):
            self._evaluate(self._rules[place], needs[place], place in wanted)
        self._alerts.sort(key=lambda entry: entry[:2])
        return [alert for _, _, alert in self._alerts]

    def _producers(self, reader: _Placed) -> list[int]:
        selectors = list(_selectors(reader.node))
        return [rule.place for rule in self._rules if any(rule.writes_to(selector) for selector in selectors)]

    def _instants(self, group: RuleGroup) -> np.ndarray:
        step = round((group.interval or self._every) * 1000)
        first, last = int(self._grid[0]), int(self._grid[-1])
        if (last - first) // step > 200_000:
            raise RulesError(
                f"The group {group.name[:80]!r} would be evaluated {(last - first) // step} times: "
                "its interval is too short."
            )
        return np.arange(first, last + 1, step, dtype=np.int64)

    def _evaluation(self, reader: _Placed, producers: list[int]) -> Evaluation:
        step = round((reader.group.interval or self._every) * 1000)
        if not producers:
            if step not in self._evaluations:
                self._evaluations[step] = Evaluation(self._store, self._instants(reader.group), rules=True)
            return self._evaluations[step]
        store = self._store.copy()
        for place in producers:
            # A later rule's sample of this instant is not written yet: a moment later it is.
            late = 1 if place > reader.place else 0
            for one in self._outputs[place]:
                store.add(one.labels, one.times + late, one.values, one.stale)
        return Evaluation(store, self._instants(reader.group), rules=True)

    def _evaluate(self, placed: _Placed, producers: list[int], wanted: bool) -> None:
        evaluation = self._evaluation(placed, producers)
        instants = evaluation.instants
        try:
            value = evaluation.value(placed.node)
        except QueryError as error:
            raise RulesError(f"In {placed.title}: {error}") from None
        if not isinstance(value, Vector):
            value = Vector([()], value[None, :], np.ones((1, len(instants)), dtype=bool))
        if placed.group.limit > 0:
            within = value.present.sum(axis=0) <= placed.group.limit
            value = Vector(value.labels, value.values, value.present & within)
        if isinstance(placed.rule, RecordingRule):
            self._record(placed, placed.rule, value, instants)
        else:
            self._alert(placed, placed.rule, value, instants, wanted)

    def _record(self, placed: _Placed, rule: RecordingRule, value: Vector, instants: np.ndarray) -> None:
        names = [_labelled(labels, {"__name__": rule.record, **rule.labels}) for labels in value.labels]
        value = _named(placed, names, value)
        self._outputs[placed.place] = [
            _output(labels, instants, values, present)
            for labels, values, present in zip(value.labels, value.values, value.present, strict=True)
        ]

    def _alert(self, placed: _Placed, rule: AlertRule, value: Vector, instants: np.ndarray, wanted: bool) -> None:
        names = []
        for labels in value.labels:
            added = {name: _expanded(text, dict(labels), placed.title) for name, text in rule.labels.items()}
            names.append(_labelled(without_name(labels), {**added, "alertname": rule.alert}))
        value = _named(placed, names, value)
        outputs: list[_Output] = []
        for labels, present in zip(value.labels, value.present, strict=True):
            pending = np.zeros(len(instants), dtype=bool)
            firing = np.zeros(len(instants), dtype=bool)
            since = np.zeros(len(instants))
            for start, fires, end in _episodes(present, instants, rule):
                stop = len(instants) if end is None else end
                first_firing = stop if fires is None else fires
                pending[start:first_firing] = True
                firing[first_firing:stop] = True
                since[start:stop] = instants[start] / 1000.0
                when = [None if index is None else float(instants[index]) / 1000.0 for index in (start, fires, end)]
                alert = Alert(rule.alert, dict(labels), dict(rule.annotations), when[0] or 0.0, when[1], when[2])
                self._alerts.append((alert.pending, placed.place, alert))
            if len(self._alerts) > MAX_EPISODES:
                raise RulesError(f"In {placed.title}: more than {MAX_EPISODES} alerts begin and end.")
            if wanted:
                for state, active in (("pending", pending), ("firing", firing)):
                    series = _labelled(labels, {"__name__": "ALERTS", "alertstate": state})
                    outputs.append(_output(series, instants, np.ones(len(instants)), active))
                outputs.append(
                    _output(_labelled(labels, {"__name__": "ALERTS_FOR_STATE"}), instants, since, pending | firing)
                )
        self._outputs[placed.place] = outputs


def _selectors(node: Expression) -> Iterator[Selector]:
    if isinstance(node, Selector):
        yield node
    for child in children(node):
        yield from _selectors(child)


def _accepts(op: str, wanted: str, value: str) -> bool:
    if op in ("=", "!="):
        return (value == wanted) == (op == "=")
    return (compile_regex(wanted).search(value) is not None) == (op == "=~")


def _ordered(needs: dict[int, list[int]], rules: Sequence[_Placed]) -> list[int]:
    """The rules in an order in which each comes after those it reads, else in the file's."""
    done: dict[int, bool] = {}
    order: list[int] = []

    def visit(place: int) -> None:
        if done.get(place) is False:
            raise RulesError(
                f"In {rules[place].title}: a rule that reads its own earlier results is not supported here."
            )
        if place not in done:
            done[place] = False
            for producer in needs[place]:
                visit(producer)
            done[place] = True
            order.append(place)

    for place in needs:
        visit(place)
    return order


def _labelled(labels: Labels, added: dict[str, str]) -> Labels:
    return tuple(sorted(pair for pair in {**dict(labels), **added}.items() if pair[1]))


def _output(labels: Labels, instants: np.ndarray, values: np.ndarray, present: np.ndarray) -> _Output:
    """The samples that are present, each run of them ended by a stale one."""
    ends = np.zeros_like(present)
    ends[1:] = present[:-1] & ~present[1:]
    kept = present | ends
    return _Output(labels, instants[kept], values[kept], ends[kept])


def _named(placed: _Placed, names: list[Labels], value: Vector) -> Vector:
    """The rule's result under its final labels, one row each."""
    try:
        return merged(Vector(names, value.values, value.present))
    except QueryError:
        raise RulesError(f"In {placed.title}: under the rule's labels two results become the same series.") from None


def _episodes(
    present: np.ndarray, instants: np.ndarray, rule: AlertRule
) -> Iterator[tuple[int, int | None, int | None]]:
    """(start, first firing, end) of every stay away from inactive, as indices: rules/alerting.go, Eval."""
    hold, keep = round(rule.hold * 1000), round(rule.keep_firing_for * 1000)
    edges = np.diff(np.concatenate([[False], present, [False]]).astype(np.int8))
    runs = list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))
    place = 0
    while place < len(runs):
        start, end = runs[place]
        place += 1
        fires = int(np.searchsorted(instants, instants[start] + hold))
        if fires >= end:
            yield start, None, end if end < len(instants) else None
            continue
        over = end
        while end < len(instants):
            # Gone since `end`; kept firing until it has been gone for `keep`, unless it comes back before.
            over = int(np.searchsorted(instants, instants[end] + keep))
            if place >= len(runs) or runs[place][0] > over:
                break
            end = over = runs[place][1]
            place += 1
        yield start, fires, over if over < len(instants) else None
