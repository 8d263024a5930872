"""The checks of 17.1.4: alert rules, fired over recorded incidents and over 30 quiet days.

Invariant: a verdict depends on the text of the rules alone. A driver records that text, and the moments at which the
recording asks something of it; the judge puts the text together, evaluates it as Prometheus would, and compares what
fired with those moments. Rules of one text are evaluated once per recording and process.

Evaluations are as far apart as scrapes: where a group names a shorter `interval`, nothing new can be seen in between.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from graders.kit import Check, History, Mismatch, World

if TYPE_CHECKING:
    from shared.observability.alerting import Alert, RuleSet

REFERENCE = "shared.observability.alert_rules"

SEVERITIES = ("critical", "warning")
SIGNALS = ("latency", "errors", "saturation", "traffic")
MOST_CHARACTERS = 60_000
MOST_RULES = 60

_FILE = "Hint 1: the file"
_RATIO = "Hint 2: the expressions"
_FOR = "Hint 3: window and for"
_NOTHING = "Hint 4: when there is nothing"

_MINUTE = 60.0
_DAY = 86_400.0
_PIECE = 1_000  # characters of the rules in one string of the record


@dataclass(frozen=True)
class _Case:
    """One recording in words, and its moments: seconds from the onset, or from the start where nothing happens."""

    words: str
    moments: tuple[tuple[float, str], ...]


def _incident(words: str, within: int, what: str) -> _Case:
    """45 minutes after four hours of quiet. `what` has to fire within so many minutes."""
    return _Case(
        f"{words}, for 45 min after 4 h of quiet",
        (
            (0.0, "the incident begins"),
            (_MINUTE, "until here nothing fires"),
            (within * _MINUTE, f"{within} min, {what}"),
            (45 * _MINUTE, "45 min, the incident is over"),
            (65 * _MINUTE, "65 min, by now all alerts are resolved"),
        ),
    )


CASES = {
    "slow-requests": _incident("5 % of the requests take 3.5 s", 12, "by now a critical alert fires"),
    "errors-20": _incident("20 % of the requests fail", 12, "by now a critical alert fires"),
    "errors-2": _incident("2 % of the requests fail", 15, "by now a warning fires, and no page"),
    "traffic-x4": _incident("four times the traffic", 15, "by now a warning fires"),
    "stage-saturated": _incident(
        "one stage works at 100 %, and users notice nothing", 20, "by now a warning fires, and no page"
    ),
    "few-slow": _incident(
        "2.6 times the normal traffic, and 0.8 % of the requests take 3.5 s",
        45,
        "until now no page, and no alert on traffic",
    ),
    "below-thresholds": _incident(
        "2.6 times the normal traffic, 4 % of the requests fail, and p99 is 0.97 s",
        45,
        "until now no page, and no alert on traffic",
    ),
    "above-thresholds": _incident(
        "3.6 times the normal traffic, 8 % of the requests fail, and p99 is 1.3 s", 45, "by now all three fire"
    ),
    "quiet-month": _Case(
        "30 quiet days with blips of at most two minutes, evaluated every minute",
        ((0.0, "the month begins"), (30 * _DAY, "day 30, by now nobody has been paged")),
    ),
    "healthy": _Case(
        "a quiet night of six hours", ((0.0, "the night begins"), (749 * 30.0, "6 h, by now nobody has been paged"))
    ),
    "zero-traffic": _Case(
        "all clients go away, 2 h 30 min into the night, and stay away",
        ((0.0, "the night begins"), (300 * 30.0, "from here there are no requests"), (749 * 30.0, "the night is over")),
    ),
    "missing-series": _Case(
        "nothing can be scraped for half an hour, then a restart, then single metrics are missing in turn",
        (
            (0.0, "the night begins"),
            (180 * 30.0, "from here samples are missing"),
            (240 * 30.0, "a restart; failures and pool limits are missing"),
            (420 * 30.0, "requests and durations are missing"),
            (600 * 30.0, "queues and rejections are missing"),
            (749 * 30.0, "the night is over"),
        ),
    ),
}
_INCIDENTS = ("slow-requests", "errors-20", "errors-2", "traffic-x4", "stage-saturated")


def _of(*names: str) -> tuple[dict[str, str], ...]:
    return tuple({"recording": name} for name in names)


class _RulesCheck(Check):
    """Records the rules and the moments of one recording; `judge_alerts` is given what fired."""

    scenarios = st.just({"recording": "healthy"})
    examples = 1

    def drive(self, answer: Any, scenario: dict[str, str], world: World) -> None:
        if isinstance(answer, str) and not answer.strip():
            raise NotImplementedError("rules are still empty")
        if isinstance(answer, str):
            pieces = [answer[start : start + _PIECE] for start in range(0, min(len(answer), 10**6), _PIECE)]
            event = world.record("rules are read", "note", pieces=pieces, length=len(answer))
        else:
            event = world.record("rules are read", "failed", type=type(answer).__name__)
        event["who"] = "rules"
        for moment, words in CASES[scenario["recording"]].moments:
            world.sleep(moment - world.now)
            event = world.record(words, "waiting" if "by now" in words else "note")
            event.update(who=scenario["recording"], moment=moment)

    def judge(self, scenario: dict[str, str], history: History) -> None:
        name = scenario["recording"]
        case = CASES[name]
        told = [(event.get("moment"), event["what"]) for event in history[1:]]
        if told != list(case.moments):
            raise Mismatch(
                expected=f"a record of the rules and {len(case.moments)} moments", observed=f"{len(history)} events"
            )
        text = _text(history[0])
        read = _read(text)
        if isinstance(read, str):
            where = "" if isinstance(self, PrometheusTakesTheRules) else ": begin with the first check"
            raise Mismatch(expected=f"rules that Prometheus takes{where}", observed=f"it refuses them: {read}", at=0)
        fired = _fired(text, name)
        if isinstance(fired, str):
            raise Mismatch(expected="rules that can be evaluated", observed=fired, at=0)
        self.judge_alerts(name, read, fired)

    def judge_alerts(self, name: str, rules: RuleSet, fired: tuple[Alert, ...]) -> None:
        """The rules are valid, and `fired` are the alerts that fired over the recording `name`, in that order."""

    def describe(self, scenario: dict[str, str]) -> str:
        return CASES[scenario["recording"]].words


# What fired


def _text(event: dict[str, Any]) -> str:
    """The rules in the record of them."""
    if "type" in event:
        raise Mismatch(expected="`rules` to be a text of YAML", observed=f"it is of type {event['type']}", at=0)
    pieces, length = event.get("pieces"), event.get("length")
    if not isinstance(pieces, list) or not all(isinstance(piece, str) for piece in pieces):
        raise Mismatch(expected="a record of the rules", observed="an event without their text", at=0)
    if length != sum(map(len, pieces)) or length > MOST_CHARACTERS:
        raise Mismatch(
            expected=f"rules of at most {MOST_CHARACTERS:,} characters", observed=f"{length} characters", at=0
        )
    return "".join(pieces)


@functools.lru_cache(maxsize=16)
def _read(text: str) -> RuleSet | str:
    """The rules, or why they are refused."""
    from shared.observability.alerting import RulesError, parse_rules

    try:
        rules = parse_rules(text)
    except RulesError as error:
        return str(error)
    count = sum(len(group.rules) for group in rules.groups)
    return rules if count <= MOST_RULES else f"There are {count} rules; at most {MOST_RULES} are graded."


@functools.lru_cache(maxsize=16)
def _fired(text: str, name: str) -> tuple[Alert, ...] | str:
    """The alerts that fired, in the order in which they did, or why the rules cannot be evaluated.

    Their instants are seconds from the onset, or from the start of the recording.
    """
    from shared.observability.alerting import RulesError, RuleSet, fire
    from shared.observability.recording import load

    rules, recording = _read(text), load(name)
    assert not isinstance(rules, str)
    groups = tuple(
        replace(group, interval=group.interval and max(group.interval, recording.interval)) for group in rules.groups
    )
    try:
        alerts = fire(RuleSet(groups), recording, every=recording.interval)
    except RulesError as error:
        return str(error)
    zero = float(recording.times[0]) if recording.onset is None else recording.onset
    moved = [
        replace(
            alert,
            pending=float(alert.pending - zero),
            firing=float(alert.firing - zero),
            resolved=None if alert.resolved is None else float(alert.resolved - zero),
        )
        for alert in alerts
        if alert.firing is not None
    ]
    return tuple(sorted(moved, key=_since))


def _since(alert: Alert) -> float:
    assert alert.firing is not None
    return alert.firing


def _firing_at(alert: Alert, moment: float) -> bool:
    return _since(alert) <= moment and (alert.resolved is None or alert.resolved > moment)


def _pages(alerts: Iterable[Alert]) -> Iterator[Alert]:
    return (alert for alert in alerts if alert.labels.get("severity") == "critical")


# Words


def _title(alert: Alert) -> str:
    kind = " ".join(alert.labels.get(label, f"(no {label})") for label in ("severity", "signal"))
    shown = alert.name if len(alert.name) <= 60 else f"{alert.name[:59]}…"
    return f"{shown} ({kind})"


def _minutes(seconds: float) -> str:
    return f"{seconds / _MINUTE:.4g} min"


def _after(seconds: float) -> str:
    if seconds < 0:
        return f"{_minutes(-seconds)} before the incident"
    return f"{_minutes(seconds)} after the onset"


def _day(seconds: float) -> str:
    day, rest = divmod(seconds, _DAY)
    hour, rest = divmod(rest, 3600)
    return f"on day {day + 1:.0f} at {hour:02.0f}:{rest // 60:02.0f}"


def _lasting(alert: Alert) -> str:
    if alert.resolved is None:
        return "until the end"
    return f"for {_minutes(alert.resolved - _since(alert))}"


def _fires(alerts: Iterable[Alert], when: Callable[[float], str]) -> str:
    """Which alerts fire when, the first three of them."""
    told = [f"{_title(alert)} fires {when(_since(alert))}" for alert in alerts]
    more = f", and {len(told) - 3} more" if len(told) > 3 else ""
    return "; ".join(told[:3]) + more


# The checks


class PrometheusTakesTheRules(_RulesCheck):
    """Prometheus takes the file, and every alert says under labels how severe it is and which signal it watches."""

    hint = _FILE
    always = _of("healthy")

    def judge_alerts(self, name: str, rules: RuleSet, fired: tuple[Alert, ...]) -> None:
        if not rules.alerts:
            raise Mismatch(expected="a rule file with alerts", observed="it has none", at=0)
        for rule in rules.alerts:
            for label, allowed in (("severity", SEVERITIES), ("signal", SIGNALS)):
                value = rule.labels.get(label)
                if label in rule.expr if value is None else "{{" in value:
                    continue  # it comes with the series; what fires shows it
                if value not in allowed:
                    raise Mismatch(
                        expected=f"the label {label} of {rule.alert} to be {' or '.join(allowed)}",
                        observed="it has no such label" if value is None else f"it is {value[:60]!r}",
                        at=0,
                    )


class _FiresInTime(_RulesCheck):
    """An alert of `signal` and `severity` fires by the third moment, and nothing of it in the first minute."""

    signal: str
    severity: str
    pages = False  # whether somebody may be paged in this incident

    def judge_alerts(self, name: str, rules: RuleSet, fired: tuple[Alert, ...]) -> None:
        deadline, over = (CASES[name].moments[place][0] for place in (2, 3))
        own = [alert for alert in fired if alert.labels.get("signal") == self.signal]
        right = [alert for alert in own if alert.labels.get("severity") == self.severity]
        for alert in [*own, *_pages(fired)]:
            if 0 <= _since(alert) < _MINUTE:
                raise Mismatch(
                    expected="nothing to fire in the first minute of the incident",
                    observed=f"{_title(alert)} fires {_after(_since(alert))}",
                    at=2,
                )
        for alert in right:
            if _since(alert) < 0 and _firing_at(alert, _MINUTE):
                raise Mismatch(
                    expected=f"a {self.severity} alert on {self.signal} that begins with the incident",
                    observed=f"{_title(alert)} has been firing since {_after(_since(alert))}",
                    at=1,
                )
        expected = f"an alert with severity {self.severity} and signal {self.signal} by {_minutes(deadline)}"
        inside = [alert for alert in right if _MINUTE <= _since(alert) <= over]
        if not inside:
            others = [alert for alert in fired if 0 <= _since(alert) <= over]
            labels = {"severity": self.severity, "signal": self.signal}.items()
            silent = [rule.alert[:60] for rule in rules.alerts if labels <= rule.labels.items()][:3]
            observed = _fires(others, _after) or "none fires in the whole incident"
            if silent:
                observed = f"{', '.join(silent)} stays silent; {'of the others, ' if others else ''}{observed}"
            raise Mismatch(expected=expected, observed=observed, at=3)
        first = inside[0]
        if _since(first) > deadline:
            observed = f"{_title(first)} is pending from {_minutes(first.pending)} on and fires {_after(_since(first))}"
            raise Mismatch(expected=expected, observed=observed, at=3)
        if not self.pages:
            for page in _pages(fired):
                if page.resolved is None or page.resolved > 0:
                    raise Mismatch(
                        expected="nobody to be paged for this incident",
                        observed=f"{_title(page)} fires {_after(_since(page))}",
                        at=3,
                    )


class LatencyPagesInTime(_FiresInTime):
    """When 5 % of the requests take 3.5 s, somebody is paged between the 1st and the 12th minute."""

    hint = _RATIO
    always = _of("slow-requests")
    scenarios = st.sampled_from(always)
    signal, severity, pages = "latency", "critical", True


class ManyErrorsPageInTime(_FiresInTime):
    """When 20 % of the requests fail, somebody is paged between the 1st and the 12th minute."""

    hint = _RATIO
    always = _of("errors-20")
    scenarios = st.sampled_from(always)
    signal, severity, pages = "errors", "critical", True


class FewErrorsWarnOnly(_FiresInTime):
    """When 2 % of the requests fail, there is a warning between the 1st and the 15th minute, and no page."""

    hint = _RATIO
    always = _of("errors-2")
    scenarios = st.sampled_from(always)
    signal, severity = "errors", "warning"


class TrafficWarnsInTime(_FiresInTime):
    """When traffic is four times the normal, there is a warning between the 1st and the 15th minute."""

    hint = _RATIO
    always = _of("traffic-x4")
    scenarios = st.sampled_from(always)
    signal, severity, pages = "traffic", "warning", True


class SaturationWarnsAndNeverPages(_FiresInTime):
    """A stage at 100 % warns between the 1st and the 20th minute; users are well, so nobody is paged."""

    hint = _RATIO
    always = _of("stage-saturated")
    scenarios = st.sampled_from(always)
    signal, severity = "saturation", "warning"

    def judge_alerts(self, name: str, rules: RuleSet, fired: tuple[Alert, ...]) -> None:
        for rule in rules.alerts:
            if (rule.labels.get("severity"), rule.labels.get("signal")) == ("critical", "saturation"):
                raise Mismatch(
                    expected="saturation to warn and never to page: it is a cause, not a symptom",
                    observed=f"{rule.alert} has severity critical",
                    at=0,
                )
        super().judge_alerts(name, rules, fired)


class ThresholdsAreKept(_RulesCheck):
    """Just below the thresholds nobody is paged and no alert on traffic fires; just above them all three fire."""

    hint = _RATIO
    always = _of("few-slow", "below-thresholds", "above-thresholds")
    scenarios = st.sampled_from(always)
    told = (
        ("critical", "latency", "slow-requests"),
        ("critical", "errors", "errors-20"),
        ("warning", "traffic", "traffic-x4"),
    )

    def judge(self, scenario: dict[str, str], history: History) -> None:
        super().judge(scenario, history)
        name, text = scenario["recording"], _text(history[0])
        inside = _beginning_inside(text, name)
        if name != "above-thresholds":
            for alert in inside:
                if alert.labels.get("severity") == "critical" or alert.labels.get("signal") == "traffic":
                    raise Mismatch(expected="no page, and no alert on traffic", observed=_fires([alert], _after), at=3)
            return
        for severity, signal, larger in self.told:
            if _with_labels(inside, severity, signal):
                continue
            # What fires in no incident at all fails the check of that incident, which says more.
            if there := _with_labels(_beginning_inside(text, larger), severity, signal):
                others = _fires(inside, _after)
                raise Mismatch(
                    expected=f"an alert with severity {severity} and signal {signal} in these 45 min",
                    observed=f"{_title(there[0])} stays silent" + (f"; {others}" if others else ""),
                    at=3,
                )


def _beginning_inside(text: str, name: str) -> list[Alert]:
    """What begins to fire in an incident. What fired before is no news, whatever made it fire."""
    fired, over = _fired(text, name), CASES[name].moments[3][0]
    assert not isinstance(fired, str)
    return [alert for alert in fired if 0 <= _since(alert) <= over]


def _with_labels(alerts: Iterable[Alert], severity: str, signal: str) -> list[Alert]:
    return [
        alert for alert in alerts if (alert.labels.get("severity"), alert.labels.get("signal")) == (severity, signal)
    ]


class QuietDaysPageNobody(_RulesCheck):
    """In 30 quiet days, with blips of at most two minutes, nobody is paged."""

    hint = _FOR
    always = _of("healthy", "quiet-month")
    scenarios = st.sampled_from(always)

    def judge_alerts(self, name: str, rules: RuleSet, fired: tuple[Alert, ...]) -> None:
        pages = list(_pages(fired))
        if pages:
            first = pages[0]
            count = f"{len(pages)} pages" if len(pages) > 1 else "1 page"
            raise Mismatch(
                expected="no page",
                observed=f"{count}; the first, {_title(first)}, {_day(_since(first))}, pending for "
                f"{_minutes(_since(first) - first.pending)} and then firing {_lasting(first)}",
                at=len(CASES[name].moments),
            )


class NothingToSeeFiresNothing(_RulesCheck):
    """Without traffic and without samples no alert fires: nothing is not an error."""

    hint = _NOTHING
    always = _of("zero-traffic", "missing-series")
    scenarios = st.sampled_from(always)

    def judge_alerts(self, name: str, rules: RuleSet, fired: tuple[Alert, ...]) -> None:
        moments = [moment for moment, _ in CASES[name].moments]
        for alert in fired:
            if alert.resolved is None or alert.resolved > moments[1]:
                seen = max(_since(alert), moments[1])
                raise Mismatch(
                    expected="no alert to fire",
                    observed=f"{_title(alert)} fires {_minutes(seen)} into the night, {_lasting(alert)}",
                    at=1 + max(place for place, moment in enumerate(moments) if moment <= seen),
                )


class AlertsResolve(_RulesCheck):
    """20 minutes after an incident is over, every alert that fired in it is resolved."""

    hint = _FOR
    always = _of(*_INCIDENTS)
    scenarios = st.sampled_from(always)
    examples = 5

    def judge_alerts(self, name: str, rules: RuleSet, fired: tuple[Alert, ...]) -> None:
        over, latest = (CASES[name].moments[place][0] for place in (3, 4))
        for alert in fired:
            if _since(alert) <= over and _firing_at(alert, latest):
                late = "never" if alert.resolved is None else f"only {_minutes(alert.resolved - over)} after the end"
                raise Mismatch(
                    expected=f"all alerts to be resolved by {_minutes(latest - over)} after the end of the incident",
                    observed=f"{_title(alert)} fires {_after(_since(alert))} and is {late} resolved",
                    at=5,
                )
