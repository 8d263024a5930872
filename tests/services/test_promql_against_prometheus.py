"""The evaluator answers as the real Prometheus does: every expression of `expressions/*.promql`, to 1e-9.

An exercise adds its queries as a file in that folder: one expression a line, `# recording: NAME` before the first.
"""

from __future__ import annotations

import json
import math
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.observability.promql import Evaluation, QueryError, evaluate_at, parse
from shared.observability.promql_series import Store, Vector, milliseconds
from shared.observability.recording import Recording, load
from tools.services import prometheus, replay

EXPRESSIONS = Path(__file__).with_name("expressions")
REFUSED = Path(__file__).with_name("refused.promql")
RELATIVE = 1e-9
_RANKED = re.compile(r"(topk|bottomk)\b")

pytestmark = pytest.mark.needs("prometheus", "promtool")

Ask = Callable[[str, dict[str, Any]], Any]


def _zoo() -> Recording:
    namespace: dict[str, Any] = {}
    source = Path(__file__).with_name("zoo.py")
    exec(compile(source.read_text(), str(source), "exec"), namespace)
    return namespace["zoo"]()


ZOO = _zoo()


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """(recording, expression) of every line of a file."""
    recording = "zoo"
    for line in map(str.strip, file.read_text().splitlines()):
        if line.startswith("# recording:"):
            recording = line.removeprefix("# recording:").strip()
        elif line and not line.startswith("#"):
            yield recording, line


def _recording(name: str) -> Recording:
    return ZOO if name == "zoo" else load(name)


CASES = [case for file in sorted(EXPRESSIONS.glob("*.promql")) for case in _lines(file)]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """The answers of a real server that holds the recordings of all expressions, evaluation interval 1m."""
    folder = tmp_path_factory.mktemp("promql")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: replay(_recording(name), folder), sorted({name for name, _ in CASES} | {"zoo"})))
    with prometheus({"global": {"evaluation_interval": "1m"}}, folder) as url:

        def answer(endpoint: str, parameters: dict[str, Any]) -> Any:
            body = urllib.parse.urlencode(parameters).encode()
            try:
                with urllib.request.urlopen(f"{url}/api/v1/{endpoint}", body, timeout=20) as response:
                    return json.load(response)["data"]
            except urllib.error.HTTPError as error:
                raise QueryError(json.load(error)["error"]) from None

        yield answer


def _instants(recording: Recording) -> np.ndarray:
    """From before the first sample to long after the last, off the grid of samples and on it."""
    step = 50 if len(recording.times) < 400 else 75
    return np.arange(recording.times[0] - 2 * step, recording.times[-1] + 450, step)


@pytest.mark.parametrize(("name", "expr"), CASES, ids=[f"{name}: {expr}" for name, expr in CASES])
def test_a_range_query_gives_the_same_samples(ask: Ask, name: str, expr: str) -> None:
    recording = _recording(name)
    times = _instants(recording)
    data = ask("query_range", {"query": expr, "start": times[0], "end": times[-1], "step": times[1] - times[0]})
    theirs = {_key(one["metric"]): {float(t): float(v) for t, v in one["values"]} for one in data["result"]}
    value = Evaluation(Store.of(recording), milliseconds(times)).value(parse(expr))
    if not isinstance(value, Vector):
        value = Vector([()], value[None, :], np.ones((1, len(times)), dtype=bool))
    if _RANKED.match(expr):
        assert _by_instant(_samples(value, times)) == _by_instant(theirs)
        return
    assert sorted(value.labels) == sorted(theirs)
    for labels, ours in _samples(value, times).items():
        assert ours.keys() == theirs[labels].keys(), labels
        different = {t: (ours[t], v) for t, v in theirs[labels].items() if not _close(ours[t], v)}
        assert not different, (labels, different)


@pytest.mark.parametrize(("name", "expr"), CASES, ids=[f"{name}: {expr}" for name, expr in CASES])
def test_an_instant_query_gives_the_same_samples(ask: Ask, name: str, expr: str) -> None:
    recording = _recording(name)
    moment = float(recording.times[-1] - 2711)
    data = ask("query", {"query": expr, "time": moment})
    if data["resultType"] == "scalar":
        data["result"] = [{"metric": {}, "value": data["result"]}]
    theirs = [(_key(one["metric"]), float(one["value"][1])) for one in data["result"]]
    ours = [(_key(labels), value) for labels, value in evaluate_at(expr, recording, moment)]
    if _RANKED.match(expr):
        assert sorted(_rounded(value) for _, value in ours) == sorted(_rounded(value) for _, value in theirs)
        return
    if not expr.startswith("sort"):
        theirs.sort()
        ours.sort()
    assert [labels for labels, _ in ours] == [labels for labels, _ in theirs]
    assert all(_close(a, b) for (_, a), (_, b) in zip(ours, theirs, strict=True)), (ours, theirs)


@pytest.mark.parametrize("expr", [expr for _, expr in _lines(REFUSED)])
def test_what_the_server_refuses_is_refused(ask: Ask, expr: str) -> None:
    times = _instants(ZOO)
    with pytest.raises(QueryError):
        ask("query_range", {"query": expr, "start": times[0], "end": times[-1], "step": times[1] - times[0]})
    with pytest.raises(QueryError) as refusal:
        Evaluation(Store.of(ZOO), milliseconds(times)).value(parse(expr))
    sentence = str(refusal.value)
    assert sentence.endswith(".") and "\n" not in sentence


def test_enough_is_compared() -> None:
    assert len(set(CASES)) >= 120


def _samples(value: Vector, times: np.ndarray) -> dict[tuple[tuple[str, str], ...], dict[float, float]]:
    return {
        labels: dict(zip(times[present].tolist(), values[present].tolist(), strict=True))
        for labels, values, present in zip(value.labels, value.values, value.present, strict=True)
    }


def _by_instant(series: dict[tuple[tuple[str, str], ...], dict[float, float]]) -> dict[float, list[str]]:
    """The values at each instant, without their labels: among equal values topk() may choose any."""
    values: dict[float, list[str]] = {}
    for samples in series.values():
        for moment, value in samples.items():
            values.setdefault(moment, []).append(_rounded(value))
    return {moment: sorted(there) for moment, there in values.items()}


def _rounded(value: float) -> str:
    return f"{value:.8e}"


def _key(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _close(ours: float, theirs: float) -> bool:
    return (math.isnan(ours) and math.isnan(theirs)) or math.isclose(ours, theirs, rel_tol=RELATIVE, abs_tol=1e-12)
