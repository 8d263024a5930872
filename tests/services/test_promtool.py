"""The alert evaluator and promtool give the same verdict on every rule file of `rules/`, right and wrong.

`rules/NAME.yml` is asked what `NAME.test.yml` asks, or else what `scenario.yml` asks. All go
through one run of promtool, which evaluates every group at the test's interval, whatever its own.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from shared.observability.alerting import RulesError, fire, parse_rules
from shared.observability.recording import Recording, Series
from tools.system_programs import find

RULES = Path(__file__).with_name("rules")
NAMES = sorted(file.stem for file in RULES.glob("*.yml") if file.stem != "scenario" and not file.stem.endswith(".test"))

pytestmark = pytest.mark.needs("promtool")


def _test_of(name: str) -> dict[str, Any]:
    own = RULES / f"{name}.test.yml"
    return yaml.safe_load((own if own.exists() else RULES / "scenario.yml").read_text())


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """What `promtool test rules` says of each file."""
    folder = tmp_path_factory.mktemp("rules")
    for name in NAMES:
        (folder / f"{name}.test.yml").write_text(
            yaml.safe_dump(_test_of(name) | {"rule_files": [f"{RULES}/{name}.yml"]})
        )
    return _verdicts(["test", "rules", *(f"{name}.test.yml" for name in NAMES)], folder, "Unit Testing:")


@pytest.fixture(scope="module")
def checked() -> dict[str, bool]:
    """What `promtool check rules` says of each file."""
    return _verdicts(["check", "rules", "--lint=none", *(f"{name}.yml" for name in NAMES)], RULES, "Checking")


def _verdicts(arguments: list[str], folder: Path, heading: str) -> dict[str, bool]:
    run = subprocess.run([str(find("promtool")), *arguments], cwd=folder, capture_output=True, text=True, timeout=60)
    parts = re.split(rf"^{heading} +(\S+)$", run.stdout, flags=re.MULTILINE)
    return {
        Path(file).name.split(".")[0]: "SUCCESS" in said for file, said in zip(parts[1::2], parts[2::2], strict=True)
    }


@pytest.mark.parametrize("name", NAMES)
def test_both_give_the_verdict_that_the_name_says(tested: dict[str, bool], name: str) -> None:
    assert tested[name] == name.startswith("right"), "promtool"
    assert _passes(name) == name.startswith("right"), "the evaluator"


@pytest.mark.parametrize("name", NAMES)
def test_both_accept_or_refuse_the_file(checked: dict[str, bool], name: str) -> None:
    try:
        parse_rules((RULES / f"{name}.yml").read_text())
        accepted = True
    except RulesError as error:
        accepted = False
        assert str(error).endswith(".") and "\n" not in str(error)
    assert accepted == checked[name]


def test_enough_files_are_compared() -> None:
    assert len(NAMES) >= 30


def _passes(name: str) -> bool:
    """Whether the alerts that fire are those that the unit test expects."""
    test = _test_of(name)
    every = _seconds(test["evaluation_interval"])
    try:
        rules = parse_rules((RULES / f"{name}.yml").read_text())
        for case in test["tests"]:
            asked = case["alert_rule_test"]
            alerts = fire(rules, _recording(case, max(_seconds(one["eval_time"]) for one in asked)), every)
            for one in asked:
                moment = _seconds(one["eval_time"])
                firing = [
                    alert.labels
                    for alert in alerts
                    if alert.name == one["alertname"] and alert.firing is not None and alert.firing <= moment
                    and (alert.resolved is None or alert.resolved > moment)
                ]  # fmt: skip
                expected = [{"alertname": one["alertname"], **expect["exp_labels"]} for expect in one["exp_alerts"]]
                if sorted(map(sorted, map(dict.items, firing))) != sorted(map(sorted, map(dict.items, expected))):
                    return False
    except RulesError:
        return False
    return True


def _recording(case: dict[str, Any], end: float) -> Recording:
    step = _seconds(case["interval"])
    times = np.arange(0, end + step, step)
    series = []
    for one in case["input_series"]:
        name, _, labels = one["series"].partition("{")
        values = np.full(len(times), np.nan)
        written = _values(one["values"])[: len(times)]
        values[: len(written)] = written
        series.append(Series({"__name__": name, **dict(re.findall(r'(\w+)="([^"]*)"', labels))}, values))
    return Recording("unit-test", "", step, times, None, None, tuple(series))


def _values(notation: str) -> list[float]:
    """promtool's series notation: `_`, `1`, `0x20` (21 samples), `0+10x20`."""
    values: list[float] = []
    for word in notation.split():
        if word == "_":
            values.append(np.nan)
        elif found := re.fullmatch(r"(\d+)(?:\+(\d+))?(?:x(\d+))?", word):
            start, step, times = float(found[1]), float(found[2] or 0), int(found[3] or 0)
            values += [start + step * place for place in range(times + 1)]
        else:
            raise AssertionError(f"{word!r} is not understood here.")
    return values


def _seconds(duration: str) -> float:
    found = re.fullmatch(r"(\d+)([sm])", duration)
    assert found is not None, duration
    return float(found[1]) * {"s": 1, "m": 60}[found[2]]
