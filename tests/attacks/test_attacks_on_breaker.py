"""A few attacks on a whole exercise, 17.2.1, with the checks as they are handed out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from graders.course import find
from graders.engine import Answer, Engine, Verdict, read_answer

pytestmark = pytest.mark.needs("bwrap")

EXERCISE = find("17.2.1")
_NOTE = "[{'history': [{'t': 0, 'who': 'main', 'what': 'call', 'kind': 'note'}], 'schedule': {}, 'trouble': None}]"
_EMPTY = "\n\nclass CircuitBreaker:\n    def __init__(self, config, clock=None):\n        pass\n"

ATTACKS: dict[str, str] = {
    "one note for every history": (
        f"import graders.engine.runner as r\nr.play_each = lambda c, a, s, p: [{_NOTE}] * len(s){_EMPTY}"
    ),
    "the reference": (
        "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != 'Withheld']\n"
        "from shared.resilience.circuit_breaker import CircuitBreaker"
    ),
    "a player that plays nothing": (
        "import graders.kit.check as c\nc.Check.__init_subclass__ = classmethod(lambda cls, **k: setattr(cls, 'drive', "
        f"lambda self, answer, scenario, world: world.record('passed', outcome='returned', until=0.0))){_EMPTY}"
    ),
    "a class and nothing in it": _EMPTY,
    "ends itself": f"import os\nos._exit(0){_EMPTY}",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(scale=0.1) as made:
        yield made


def graded(engine: Engine, source: str) -> Verdict:
    return engine.grade(EXERCISE, Answer({"circuit-breaker": source}), seed=5)


@pytest.fixture(scope="module")
def racy() -> str:
    """An answer that is wrong in one thing: its window is not locked."""
    return read_answer(EXERCISE.answers / "wrong-unlocked-window.py", EXERCISE).cells["circuit-breaker"]


@pytest.fixture(scope="module")
def racy_verdict(engine: Engine, racy: str) -> Verdict:
    return graded(engine, racy)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_the_breaker_gains_nothing(name: str, engine: Engine) -> None:
    assert graded(engine, ATTACKS[name]).score == 0


@pytest.mark.parametrize(
    "patch",
    [
        "import shared.simulation as s\ns.strategies = lambda seed, count: iter([None] * count)",
        "import random\nrandom.Random.random = lambda self: 0.999\nrandom.Random.sample = lambda self, *a, **k: []",
        "import sys\nsys.settrace = lambda function: None",
        "import graders.kit.world as w\nw.World.start = lambda self, fn, *a, **k: fn(*a)",
        "import graders.kit.play as p\np.Plan.__init__.__code__ = (lambda self, seed=0, schedules=0, schedule=None:"
        " self.__dict__.update(seed=0, schedules=1, schedule=schedule)).__code__",
    ],
    ids=["no strategies", "no luck", "no tracing", "no threads", "no plan"],
)
def test_a_race_is_found_whatever_the_answer_did_to_the_search(
    patch: str, engine: Engine, racy: str, racy_verdict: Verdict
) -> None:
    assert graded(engine, f"{patch}\n{racy}").score <= racy_verdict.score < racy_verdict.max


def test_a_right_answer_beside_all_this_keeps_full_marks(engine: Engine) -> None:
    verdict = engine.grade(EXERCISE, read_answer(EXERCISE.answers / "right-one-lock-and-ring.py", EXERCISE), seed=5)
    assert verdict.score == verdict.max
