"""The machinery beside an answer is put back: what was replaced, what was added to classes, what functions hold."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator

import pytest

import graders.engine.runner  # noqa: F401 - the machinery, as a runner has it
from graders.engine.pristine import Pristine
from graders.kit.world import World
from shared import simulation


@pytest.fixture
def pristine() -> Iterator[Pristine]:
    made = Pristine()
    yield made
    made.restore()


def _replace_a_function() -> None:
    sys.modules["graders.kit.play"].play_each = None  # type: ignore[attr-defined]


def _replace_a_method() -> None:
    World.call = lambda self, *a, **k: {}  # type: ignore[method-assign]


def _add_to_a_class() -> None:
    World.__getattribute__ = lambda self, name: None  # type: ignore[method-assign,assignment]


def _replace_code() -> None:
    simulation.run.__code__ = (lambda *a, **k: None).__code__


def _replace_defaults() -> None:
    simulation.run.__kwdefaults__ = {"preempt": False}


def _replace_luck() -> None:
    random.Random.random = lambda self: 0.0  # type: ignore[method-assign]


def _replace_tracing() -> None:
    sys.settrace = lambda function: None


def _remove_a_name() -> None:
    del sys.modules["graders.engine.runner"].play_each  # type: ignore[attr-defined]


def _state() -> list[object]:
    return [
        sys.modules["graders.kit.play"].play_each,  # type: ignore[attr-defined]
        vars(World).get("call"),
        vars(World).get("__getattribute__"),
        simulation.run.__code__,
        simulation.run.__kwdefaults__,
        vars(random.Random).get("random"),
        sys.settrace,
        vars(sys.modules["graders.engine.runner"]).get("play_each"),
    ]


@pytest.mark.parametrize(
    "tamper",
    [
        _replace_a_function,
        _replace_a_method,
        _add_to_a_class,
        _replace_code,
        _replace_defaults,
        _replace_luck,
        _replace_tracing,
        _remove_a_name,
    ],
)
def test_what_was_changed_is_put_back(tamper: Callable[[], None], pristine: Pristine) -> None:
    before = _state()
    tamper()
    assert _state() != before
    pristine.restore()
    assert _state() == before


def test_state_is_left_alone(pristine: Pristine) -> None:
    random.seed(7)
    first = random.random()
    random.seed(7)
    pristine.restore()
    assert random.random() == first
