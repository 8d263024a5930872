"""Every right and wrong answer of 17.1.4, and the course's own rules: promtool says what the evaluator says.

`promtool check rules` accepts the same files. `promtool test rules` is asked about a recorded incident and half an
hour around it: just before and at every instant at which, by the evaluator, an alert begins to fire or is resolved.
Annotations are left out: they hold values, and the evaluator does not expand them.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from graders.course import find as find_exercise
from shared.observability.alert_rules import RULES
from shared.observability.alerting import Alert, RulesError, fire, parse_rules
from shared.observability.recording import Recording, Series, load
from tools.services import DEPLOY
from tools.system_programs import find

RECORDINGS = ("errors-20",)
EXTRA = {
    "the-course": ("errors-2", "slow-requests", "stage-saturated", "traffic-x4"),
    "right-multi-window-burn-rate": ("slow-requests",),
    "right-bool-over-a-subquery": ("stage-saturated",),
}
MOST_INSTANTS = 12  # asked of promtool per alert and recording

pytestmark = pytest.mark.needs("promtool")


def _rules_of(path: Path) -> str:
    names: dict[str, Any] = {}
    exec(compile(path.read_text(), f"<solution {path.stem}>", "exec"), names)
    return names["rules"]


FILES = {"the-course": RULES} | {
    path.stem: _rules_of(path) for path in sorted(find_exercise("17.1.4").answers.glob("*.py"))
}


def _accepted(text: str) -> bool:
    try:
        return bool(parse_rules(text))
    except RulesError:
        return False


VALID = [name for name, text in FILES.items() if _accepted(text)]


def test_the_deployed_rules_are_the_course_s() -> None:
    assert (DEPLOY / "prometheus" / "rules.yml").read_text() == RULES


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """What `promtool check rules` says of each file."""
    folder = tmp_path_factory.mktemp("checked")
    for name, text in FILES.items():
        (folder / f"{name}.yml").write_text(text)
    return _verdicts(["check", "rules", "--lint=none", *(f"{name}.yml" for name in FILES)], folder, "Checking")


@pytest.mark.parametrize("name", FILES)
def test_both_accept_or_refuse_the_answer(checked: dict[str, bool], name: str) -> None:
    assert checked[name] == _accepted(FILES[name])


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """Whether `promtool test rules` sees each answer's alerts fire and resolve when the evaluator does."""
    folder = tmp_path_factory.mktemp("tested")
    for name in VALID:
        document = yaml.safe_load(FILES[name])
        for group in document["groups"]:
            group.pop("interval", None)  # promtool evaluates every group at the test's interval
            for rule in group["rules"]:
                rule.pop("annotations", None)
        bare = yaml.safe_dump(document)
        (folder / f"{name}.yml").write_text(bare)
        cuts = [_cut(load(each), bare) for each in (*RECORDINGS, *EXTRA.get(name, ()))]
        cases = [
            {"interval": "30s", "input_series": _input_series(cut), "alert_rule_test": _expectations(bare, cut)}
            for cut in cuts
        ]
        order = [group["name"] for group in document["groups"]]
        test = {
            "rule_files": [f"{name}.yml"], "evaluation_interval": "30s", "group_eval_order": order, "tests": cases
        }  # fmt: skip
        (folder / f"{name}.test.yml").write_text(yaml.dump(test, Dumper=_Dumper))
    return _verdicts(["test", "rules", *(f"{name}.test.yml" for name in VALID)], folder, "Unit Testing:")


@pytest.mark.parametrize("name", VALID)
def test_both_fire_and_resolve_at_the_same_instants(tested: dict[str, bool], name: str) -> None:
    assert tested[name]


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes shared series out each time: promtool takes aliases, people read them badly."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _cut(recording: Recording, rules: str) -> Recording:
    """From half an hour before the onset to half an hour after the recovery, and only what the rules name."""
    assert recording.onset is not None and recording.recovery is not None
    inside = (recording.times >= recording.onset - 1800) & (recording.times <= recording.recovery + 1800)
    series = tuple(
        Series(one.labels, one.values[inside]) for one in recording.series if one.labels["__name__"] in rules
    )
    return replace(recording, times=recording.times[inside], series=series)


def _input_series(recording: Recording) -> list[dict[str, str]]:
    written = []
    for one in recording.series:
        labels = ",".join(f'{key}="{value}"' for key, value in one.labels.items() if key != "__name__")
        values = " ".join("_" if value != value else f"{value:.10g}" for value in one.values.tolist())
        written.append({"series": f"{one.labels['__name__']}{{{labels}}}", "values": values})
    return written


def _expectations(rules: str, recording: Recording) -> list[dict[str, Any]]:
    """What fires just before and at every instant at which something begins or ends to fire."""
    alerts = [alert for alert in fire(parse_rules(rules), recording, 30.0) if alert.firing is not None]
    start, end, asked = float(recording.times[0]), float(recording.times[-1]), []
    for name in dict.fromkeys(rule.alert for rule in parse_rules(rules).alerts):
        own = [alert for alert in alerts if alert.name == name]
        edges = {edge for alert in own for edge in (alert.firing, alert.resolved) if edge is not None}
        instants = sorted({moment for edge in edges for moment in (edge - 30.0, edge)} | {end - 60.0})[:MOST_INSTANTS]
        for moment in instants:
            firing = [alert.labels for alert in own if _fires_at(alert, moment)]
            expected = [{"exp_labels": {k: v for k, v in labels.items() if k != "alertname"}} for labels in firing]
            asked.append({"eval_time": f"{moment - start:.0f}s", "alertname": name, "exp_alerts": expected})
    return asked


def _fires_at(alert: Alert, moment: float) -> bool:
    assert alert.firing is not None
    return alert.firing <= moment and (alert.resolved is None or moment < alert.resolved)


def _verdicts(arguments: list[str], folder: Path, heading: str) -> dict[str, bool]:
    run = subprocess.run([str(find("promtool")), *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
    parts = re.split(rf"^{heading} +(\S+)$", run.stdout, flags=re.MULTILINE)
    return {
        Path(file).name.split(".")[0]: "SUCCESS" in said for file, said in zip(parts[1::2], parts[2::2], strict=True)
    }
