"""The percent format: what a cell is, how mistakes are told, and that jupytext reads the same cells."""

from __future__ import annotations

import jupytext
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_course import SOURCE

from graders.source_format import BadSource, Problem, read_answer, read_cells, solutions

ANSWER = """\
# wrong: counts the first call twice
# fails: opens-on-error-rate, window-forgets
# says: expected CLOSED
# says: after 3 calls

# %% solution="circuit-breaker"
class CircuitBreaker:
    pass
"""


def problems(text: str) -> list[Problem]:
    with pytest.raises(BadSource) as raised:
        read_cells(text)
    return list(raised.value.problems)


def test_a_source_becomes_cells_with_roles_names_options_and_lines():
    title, setup, golden, text, solution, test, answer, end = read_cells(SOURCE)

    assert (title.kind, title.role, title.name, title.line) == ("markdown", "plain", "title", 1)
    assert title.source == "# 17.9.1 Doubling\n\nA solution that doubles."
    assert (setup.role, setup.name) == ("readonly", "setup")
    assert golden.options == {"golden": True}
    assert (text.name, end.source) == (None, "Well done.")
    assert (solution.role, solution.name) == ("solution", "double")
    assert (test.role, test.options, test.source) == ("test", {"points": 2.0}, "check.doubles(double)")
    assert (answer.role, answer.kind, answer.options) == ("answer", "markdown", {"points": 1.0})
    assert SOURCE.split("\n")[test.line - 1] == '# %% test="doubles" points=2'
    assert SOURCE.split("\n")[test.body_line - 1] == "check.doubles(double)"


def test_jupytext_reads_the_same_cells():
    ours = [(cell.kind, cell.source) for cell in read_cells(SOURCE)]
    theirs = [(cell.cell_type, cell.source) for cell in jupytext.reads(SOURCE, fmt="py:percent").cells]
    assert ours == theirs


def test_every_mistake_is_told_at_once_with_its_line():
    found = problems(
        "import os\n"
        '# %% foo=1 test="A"\n'
        "# %%bad\n"
        '# %% [markdown] answer="x" points=many\n'
        "no comment\n"
        '# %% id="x" test="y" points=1\n'
        "# %% test=y loose\n"
        '# %% solution="y"\n'
    )
    assert [(problem.line, problem.message.split()[0]) for problem in found] == [
        (1, "only"),
        (2, '"A"'),
        (2, "foo"),
        (3, "a"),
        (4, "points"),
        (5, "a"),
        (6, "a"),
        (7, '"loose"'),
        (7, "the"),
        (8, "the"),
    ]
    assert 'the name "y" is taken by the cell at line' in found[-1].message


def test_a_text_without_cells_says_how_a_cell_begins():
    assert "there is no cell" in problems("")[0].message


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_line_ends_and_a_byte_order_mark_change_nothing(ends: str):
    assert read_cells("\ufeff" + SOURCE.replace("\n", ends)) == read_cells(SOURCE)


def test_a_form_feed_inside_a_string_does_not_end_a_line():
    (cell,) = read_cells('# %% solution="a"\npage = "one\x0ctwo\u2028three"\n')
    assert cell.source == 'page = "one\x0ctwo\u2028three"'


@given(st.text(alphabet=st.sampled_from(list('# %[]markdown="points12solutiontest\n '))))
def test_any_text_is_read_or_refused_with_sentences(text: str):
    try:
        read_cells(text)
    except BadSource as bad:
        assert bad.problems
        assert all(problem.message.endswith(".") for problem in bad.problems)


def test_an_answer_file_gives_its_cells_and_its_promises():
    answer = read_answer(ANSWER)
    assert answer.solutions == {"circuit-breaker": "class CircuitBreaker:\n    pass"}
    assert (answer.right, answer.wrong) == (None, "counts the first call twice")
    assert answer.fails == ("opens-on-error-rate", "window-forgets")
    assert answer.says == ("expected CLOSED", "after 3 calls")


def test_solution_cells_are_found_by_id():
    assert solutions(read_cells(SOURCE))["double"].startswith("def double")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ANSWER.replace("# wrong:", "# oops:"), "exactly one of"),
        (ANSWER.replace("# wrong:", "# right:"), "a right answer fails nothing"),
        (ANSWER + "\n# %%\nprint(1)\n", "solution cells only"),
        (ANSWER.replace("# says: after 3 calls", "# says:"), "complete the line"),
    ],
)
def test_an_answer_file_that_promises_nothing_is_refused(text: str, words: str):
    with pytest.raises(BadSource, match=words):
        read_answer(text)
