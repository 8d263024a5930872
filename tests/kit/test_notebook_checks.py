"""`check.name(Answer)` in a kernel or a terminal: a line when it holds, a card and an exception when it does not."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from graders.kit import Check, CheckFailed, Checks, Mismatch
from graders.kit.notebook import _run_here


class ReturnsTwo(Check):
    """It returns two."""

    scenarios = st.just({})

    def drive(self, answer, scenario, world) -> None:
        world.call("the call", answer)

    def judge(self, scenario, history) -> None:
        if history[0].get("value") != 2:
            raise Mismatch(expected="2", observed=str(history[0].get("value")), at=0)


check = Checks({"returns-two": ReturnsTwo()}, _run_here)


def not_yet():
    raise NotImplementedError


def test_a_check_that_holds_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    check.returns_two(lambda: 2)
    assert capsys.readouterr().out == "✓ It returns two.\n"


def test_a_check_that_fails_raises_the_card_and_no_traceback() -> None:
    with pytest.raises(CheckFailed, match="expected 2; observed 3") as caught:
        check.returns_two(lambda: 3)
    rendered = "\n".join(caught.value._render_traceback_())
    assert "they part at" in rendered
    assert "Traceback" not in rendered


def test_an_unwritten_answer_raises_not_implemented_error_itself() -> None:
    with pytest.raises(NotImplementedError, match="not written yet") as caught:
        check.returns_two(not_yet)
    assert type(caught.value) is NotImplementedError


def test_a_check_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(AttributeError, match=r"no check 'returns_three'\. Choose one of: returns_two"):
        check.returns_three(not_yet)
    assert dir(check) == ["returns_two"]


def test_a_check_without_an_answer_says_how_to_call_it() -> None:
    with pytest.raises(TypeError, match=r"check.returns_two\(YourClass\)"):
        check.returns_two()
