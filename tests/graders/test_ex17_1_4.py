"""The checks of 17.1.4 judge alike from every seed, take no record on trust, and say what fired."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from graders import ex17_1_4_alerts as module
from graders.course import find
from graders.kit import Mismatch, play_each
from graders.kit.check import Check, checks_in
from graders.kit.examine import Result, examine
from graders.kit.play import Plan, play
from graders.source_format import read_answer
from shared.observability.alert_rules import RULES
from shared.observability.recording import load

CHECKS = checks_in(module)
ANSWERS = sorted(find("17.1.4").answers.glob("*.py"))


def rules_of(path: Path) -> str:
    names: dict[str, Any] = {}
    exec(compile(path.read_text(), f"<solution {path.stem}>", "exec"), names)
    return names["rules"]


def results(rules: Any, seed: int = 0, scale: float = 1.0) -> dict[str, Result]:
    return {
        name: examine(check, partial(play_each, check, rules), seed=seed, scale=scale) for name, check in CHECKS.items()
    }


def failed(rules: Any, seed: int = 0) -> set[str]:
    return {name for name, result in results(rules, seed).items() if not result.passed}


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_an_answer_fails_what_it_promises_from_every_seed(path: Path) -> None:
    promised = set(read_answer(path.read_text()).fails)
    for seed in (1, 2024):
        assert failed(rules_of(path), seed) == promised


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_no_seed_draws_what_is_not_always_tried(check: Check) -> None:
    @hypothesis.settings(database=None, deadline=None, derandomize=True)
    @hypothesis.given(check.scenarios)
    def tried(scenario: Any) -> None:
        assert scenario in check.always

    tried()


def test_the_reference_passes() -> None:
    assert failed(RULES) == set()


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_a_record_that_is_cut_short_or_made_up_is_refused(check: Check) -> None:
    for scenario in check.always:
        history = play(check, RULES, scenario, Plan(schedules=1))[0]["history"]
        check.judge(scenario, history)
        bare = [{key: event[key] for key in ("t", "who", "what", "kind")} for event in history]
        shorter = [{**history[0], "pieces": history[0]["pieces"][:-1]}, *history[1:]]
        for record in ([], [{"what": "all is well"}], history[: len(history) // 2], history[:-1], bare, shorter):
            with pytest.raises(Mismatch):
                check.judge(scenario, record)


def test_long_rules_arrive_whole() -> None:
    commented = RULES + "# " + "x" * 50_000 + "\n"
    assert failed(commented) == set()
    assert failed("# " + "é" * 3_000 + "\n" + RULES) == set()


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (RULES + "# " + "x" * 60_000, "characters"),
        (["groups:"], "of type list"),
        ("groups: []", "it has none"),
        ("- alert: [", "not YAML"),
        ("groups: []\ngroups: []", "twice"),
        ("groups:\n- name: g\n  rules:\n" + "  - {record: a, expr: vector(1)}\n" * 61, "at most 60 are graded"),
    ],
    ids=["too long", "a list", "no alert", "no YAML", "twice", "too many"],
)
def test_what_cannot_be_graded_is_refused_in_one_sentence(rules: Any, words: str) -> None:
    result = results(rules)["prometheus-takes-the-rules"]
    assert result.status == "failed" and result.card is not None
    assert words in result.card.observed and "\n" not in result.card.observed


def test_empty_rules_are_unanswered() -> None:
    assert {result.status for result in results("  \n").values()} == {"unanswered"}


def test_the_moments_are_those_of_the_recordings() -> None:
    for name, case in module.CASES.items():
        recording = load(name)
        moments = [moment for moment, _ in case.moments]
        if recording.onset is not None and recording.recovery is not None:
            assert moments[3] == recording.recovery - recording.onset == 45 * 60
            assert recording.onset - recording.times[0] == 4 * 3600
            assert recording.times[-1] - recording.onset > moments[4]
        else:
            assert abs(recording.times[-1] - recording.times[0] - moments[-1]) <= recording.interval
    silent = load("zero-traffic")
    total = sum(one.values for one in silent.series if one.labels["__name__"] == "requests_total")
    assert silent.times[total == total[-1]][0] - silent.times[0] == 299 * 30
    missing = load("missing-series").series[0].values
    assert (missing != missing).nonzero()[0][0] * 30 == module.CASES["missing-series"].moments[1][0]


def test_an_interval_shorter_than_the_scrape_costs_nothing_and_changes_nothing() -> None:
    assert failed(RULES.replace("    rules:", "    interval: 1s\n    rules:")) == set()


ALERT = """
groups:
  - name: one
    rules:
      - alert: One
        expr: {expr}
        labels: {{severity: {severity}, signal: {signal}}}
"""


def first_card(check: str, rules: str) -> str:
    card = results(rules)[check].card
    assert card is not None
    json.dumps(card.as_json())
    return card.text()


def test_a_card_says_what_fired_instead() -> None:
    words = first_card("many-errors-page-in-time", RULES.replace("> 0.05", "> 0.30"))
    story = "ErrorsCritical stays silent; of the others, ErrorsElevated (warning errors) fires 8.5 min after the onset"
    assert story in " ".join(words.split())
    words = first_card("latency-pages-in-time", RULES.replace("8m", "14m"))
    assert "pending from 1 min on and fires 15 min" in words and ">>    720.000 s" in words


def test_an_alert_that_always_fires_detects_nothing() -> None:
    always = ALERT.format(expr="vector(1)", severity="warning", signal="traffic")
    assert "has been firing since 240 min before" in " ".join(first_card("traffic-warns-in-time", always).split())


def test_labels_that_come_with_the_series_or_a_template_count() -> None:
    expr = """'label_replace(sum(rate(requests_failed_total[5m])) / sum(rate(requests_total[5m])) > 0.05,
          "severity", "critical", "", "")'"""
    rules = RULES.replace("requests:error_ratio:rate5m > 0.05", expr).replace(
        "{severity: critical, signal: errors}", "{signal: errors}"
    )
    assert failed(rules) == set()


def test_a_warning_in_the_quiet_month_is_free() -> None:
    assert failed(RULES + ALERT.split("rules:\n")[1].format(
        expr="sum(rate(requests_failed_total[2m])) > 1", severity="warning", signal="errors"
    )) <= {"many-errors-page-in-time", "few-errors-warn-only"}  # fmt: skip
