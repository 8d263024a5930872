"""The build: same source, same bytes, those that nbgrader would release; mistakes are told by line; no work twice."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from tiny_course import SOURCE, tiny_course

from graders.course import Exercise
from graders.source_format import BadSource
from tools import build as build_module
from tools.build import build, golden, main, orphans, read_source, release


@pytest.fixture(scope="module", autouse=True)
def unchanging_packages() -> Iterator[None]:
    """Stands for `shared` and `graders`, which somebody may be editing while these tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_module, "_importable", lambda: [Path(__file__)])
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Exercise:
    """The tiny course, built once for the tests that only look at it."""
    exercise = tiny_course(tmp_path_factory.mktemp("course"))
    assert [difference.path for difference in build([exercise])[exercise]] == [exercise.notebook, exercise.golden]
    return exercise


def cells(path: Path) -> dict[str, nbformat.NotebookNode]:
    return {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}


def mistakes(tmp_path: Path, source: str) -> list[tuple[int, str]]:
    exercise = tiny_course(tmp_path, source)
    with pytest.raises(BadSource) as raised:
        read_source(exercise.source)
    return [(problem.line, problem.message) for problem in raised.value.problems]


def test_the_learners_notebook_has_stubs_and_locks_and_no_outputs(built: Exercise):
    notebook = cells(built.notebook)
    assert notebook["double"].source.endswith("# YOUR CODE HERE\n    raise NotImplementedError()")
    assert notebook["why"].source == "Why is that so?\n\nYOUR ANSWER HERE"
    assert notebook["doubles"].metadata.editable is False
    assert notebook["doubles"].metadata.nbgrader.points == 2
    assert notebook["setup"].metadata.editable is False
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in notebook.values())


def test_nothing_of_a_solution_reaches_the_learner(built: Exercise):
    released = "".join(path.read_text() for path in built.root.glob("chapters/**/*") if path.is_file())
    assert "secret_sum" not in released
    assert "repeated doubling" not in released


def test_only_golden_cells_keep_outputs_and_their_count_is_real(built: Exercise):
    notebook = cells(built.golden)
    kept = notebook["worked-case"]
    assert kept.outputs[0].text.endswith("42\n")
    assert kept.execution_count == 2
    assert kept.metadata.tags == ["nbval-check-output"] and "NBVAL" not in kept.source
    others = [cell for name, cell in notebook.items() if name != "worked-case" and cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in others)


def test_nbval_compares_the_golden_output(built: Exercise, tmp_path: Path):
    told: list[str] = []

    def nbval(path: Path) -> int:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull]
        command += ["--nbval-lax", "--nbval-current-env", str(path)]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        told.append(run.stdout + run.stderr)
        return run.returncode

    changed = tmp_path / "changed.ipynb"
    changed.write_text(built.golden.read_text().replace("42\\n", "43\\n"))
    assert changed.read_text() != built.golden.read_text()
    assert (nbval(built.golden), nbval(changed)) == (0, 1), told[0]


def test_ids_come_from_names_and_an_unnamed_cell_counts_from_the_name_above(built: Exercise):
    expected = ["title", "setup", "worked-case", "worked-case--1", "double", "doubles", "why", "why--1"]
    assert list(cells(built.notebook)) == list(cells(built.golden)) == expected


def test_two_builds_give_the_same_bytes_whatever_the_hash_seed(built: Exercise, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONHASHSEED", "12345")
    assert golden(built) == built.golden.read_text()
    assert release(built) == built.notebook.read_text()


def test_notebooks_hold_nothing_of_this_machine(built: Exercise):
    for path in (built.notebook, built.golden):
        text = path.read_text()
        assert str(built.root) not in text
        assert not re.search(r'"version": "\d|timestamp|"execution":|/usr|/home|/root', text)
        nbformat.validate(nbformat.reads(text, as_version=4))


def test_nbgrader_generate_assignment_yields_the_same_bytes(built: Exercise, tmp_path: Path):
    course = tiny_course(tmp_path)
    course.golden.write_bytes(built.golden.read_bytes())
    (course.source.parent / ".hypothesis").mkdir()
    (course.source.parent / ".hypothesis" / "example").write_text("secret_sum")
    (tmp_path / "build").mkdir()
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", course.section]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.glob("chapters/**/*") if path.is_file()}
    assert made == {built.notebook.relative_to(built.root): built.notebook.read_bytes()}


def test_what_did_not_change_is_not_made_again(built: Exercise, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build_module, "release", None)
    monkeypatch.setattr(build_module, "golden", None)
    assert build([built]) == {built: []}


def test_a_change_anywhere_in_what_a_kernel_imports_executes_again(built: Exercise, monkeypatch: pytest.MonkeyPatch):
    made: list[str] = []
    texts = {"release": built.notebook.read_text(), "golden": built.golden.read_text()}
    for name, text in texts.items():
        monkeypatch.setattr(build_module, name, lambda exercise, name=name, text=text: made.append(name) or text)
    monkeypatch.setattr(build_module, "_importable", lambda: [built.source])
    assert build([built]) == {built: []}
    assert made == ["golden"]


def test_check_names_the_file_that_differs_and_the_one_to_edit(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    exercise = tiny_course(tmp_path)
    assert main(["--chapters"], tmp_path) == 0
    exercise.notebook.write_text(exercise.notebook.read_text().replace("Doubling", "Trebling"))
    edited = exercise.notebook.read_text()
    capsys.readouterr()

    assert main(["--check", "--chapters"], tmp_path) == 1
    assert capsys.readouterr().out == (
        "chapters/17.9-doubling/17.9.1-doubling.ipynb is not what its source makes: "
        "edit solutions/17.9-doubling/17.9.1-doubling.py, then make build.\n"
    )
    assert exercise.notebook.read_text() == edited


def test_check_names_notebooks_without_a_source(built: Exercise, capsys: pytest.CaptureFixture[str]):
    stray = built.notebook.with_name("17.9.2-gone.ipynb")
    stray.write_text("{}")
    try:
        assert orphans(built.root) == [stray]
        assert main(["--check"], built.root) == 1
    finally:
        stray.unlink()
    assert "17.9.2-gone.ipynb has no source: remove it." in capsys.readouterr().out


def test_an_unknown_exercise_is_told_in_one_sentence(built: Exercise, capsys: pytest.CaptureFixture[str]):
    assert main(["17.9.9"], built.root) == 2
    assert capsys.readouterr().err.startswith("There is no exercise '17.9.9'.")


def test_every_mistake_of_a_source_is_told_at_once(tmp_path: Path):
    found = mistakes(
        tmp_path,
        '# %% test="no-points"\ncheck.no_points(f)\n'
        '# %% test="other" points=1\ncheck.another(f)\n'
        '# %% solution="open"\n### BEGIN SOLUTION\nx = 1\n'
        '# %% solution="bare"\nx = 1\n'
        '# %% id="leak"\n### BEGIN SOLUTION\n### END SOLUTION\n'
        "# %% golden=true\nprint(1)\n"
        '# %% id="broken"\nx = (\n'
        '# %% answer="essay" points=1\n# words\n'
        '# %% readonly="worth" points=3\n',
    )
    assert found == [
        (1, 'test="no-points" says no points; add points=1, or more.'),
        (3, 'test="other" holds one line, check.other(…), with the names that the learner defines.'),
        (6, "this ### BEGIN SOLUTION has no ### END SOLUTION in its cell."),
        (8, "a solution cell marks what the learner writes: ### BEGIN SOLUTION … ### END SOLUTION."),
        (10, 'a solution belongs in a cell with solution="name", or it would be released.'),
        (13, 'a golden cell needs a name; add id="name".'),
        (16, "Python cannot read this: '(' was never closed."),
        (
            17,
            "an answer cell without <!-- ### BEGIN SOLUTION --> … <!-- ### END SOLUTION --> is released without its"
            " question.",
        ),
        (17, "the header of this cell begins with `# %% [markdown]`, since its role is answer."),
        (19, "only test and answer cells have points."),
    ]


def test_mistakes_are_printed_with_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    tiny_course(tmp_path, SOURCE.replace(" points=2", ""))
    assert main([], tmp_path) == 1
    assert capsys.readouterr().out == (
        'solutions/17.9-doubling/17.9.1-doubling.py:30: test="doubles" says no points; add points=1, or more.\n'
    )


@pytest.mark.parametrize(
    ("golden_line", "words"),
    [
        ("print(object())", "it shows a memory address"),
        ("pass", "it shows nothing"),
        ("import sys; print(1, file=sys.stderr)", "it writes to stderr"),
        ("1 / 0", "this cell raised ZeroDivisionError: division by zero"),
    ],
)
def test_a_cell_that_cannot_be_golden_is_told_by_line(tmp_path: Path, golden_line: str, words: str):
    source = re.sub(r"print\(\{word.*", golden_line, SOURCE)
    with pytest.raises(BadSource) as raised:
        golden(tiny_course(tmp_path, source))
    assert [problem.line for problem in raised.value.problems] == [16]
    assert words in str(raised.value)


def test_figures_are_the_same_bytes_and_have_no_date(tmp_path: Path):
    drawing = "import matplotlib.pyplot as plt; plt.plot([1, 3, 2]);"
    exercise = tiny_course(tmp_path, re.sub(r"print\(\{word.*", drawing, SOURCE))
    first = golden(exercise)
    assert first == golden(exercise)
    svg = json.loads(first)["cells"][2]["outputs"][-1]["data"]["image/svg+xml"]
    assert "dc:date" not in "".join(svg)


def test_a_figure_named_in_text_is_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "drawn_here.py").write_text('def two_strips():\n    return "<svg>strips</svg>"\n')
    monkeypatch.syspath_prepend(tmp_path)
    exercise = tiny_course(tmp_path, SOURCE.replace("# Now you.", "# ![Two strips.](figure:drawn_here.two_strips)"))
    cell = read_source(exercise.source).cells[3]
    assert cell.source.startswith("![Two strips.][two-strips]\n\n[two-strips]: data:image/svg+xml;base64,")


@pytest.mark.parametrize("where", ["nowhere.at_all", "os.no_such_figure", "os.getcwd"])
def test_a_figure_that_cannot_be_drawn_is_told_by_line(tmp_path: Path, where: str):
    ((line, message),) = mistakes(tmp_path, SOURCE.replace("# Now you.", f"# ![words](figure:{where})"))
    assert line == 19
    assert where in message
