"""Makes notebooks from sources: the learner's in chapters/, the golden one beside the source; same sources, same bytes.

    python -m tools.build                  what changed
    python -m tools.build --chapters       the learners' notebooks alone, which needs no kernel
    python -m tools.build --check 17.2.1   writes nothing, says which file differs from its source

The learner's notebook comes out of nbgrader's own preprocessors. The golden notebook is executed; only its cells marked
`golden=true` keep outputs, which nbval compares. In text, `![words](figure:package.module.function)` becomes the SVG
that the function returns, within the notebook.
"""

from __future__ import annotations

import argparse
import ast
import base64
import hashlib
import importlib
import json
import os
import re
import signal
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from graders.course import COURSE_ROOT, Exercise, UnknownExercise, exercises, find
from graders.source_format import BadSource, Cell, Problem, read_cells

if TYPE_CHECKING:  # importing the notebook libraries costs two seconds, which a build of nothing need not pay
    from nbclient import NotebookClient
    from nbformat import NotebookNode

__all__ = ["Difference", "build", "golden", "kernel_environment", "orphans", "read_source", "release", "run_cells"]

_KEPT = "nbval-check-output"
CELL_SECONDS = 120
_BEGIN, _END = "### BEGIN SOLUTION", "### END SOLUTION"
_COMPILE = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_ADDRESS = re.compile(r"0x[0-9a-f]{8,}")
_FIGURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\(figure:(?P<where>[\w.]+)\)")
_NOTEBOOK = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}
_PROFILE = """\
c.IPKernelApp.log_level = "ERROR"
c.HistoryManager.enabled = False
c.InlineBackend.figure_formats = {"svg"}
c.InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "metadata": {"Date": None}}
c.InlineBackend.rc = {"svg.hashsalt": "systems-that-last"}
"""


@dataclass(frozen=True)
class Difference:
    """A generated file that is not what its source makes; `why` ends the sentence that begins with its path."""

    path: Path
    why: str


def read_source(path: Path) -> NotebookNode:
    """The notebook that a source describes, not executed, solutions included. Raises BadSource with every mistake."""
    from nbformat import v4

    cells = read_cells(path.read_text(encoding="utf-8"))
    problems = [problem for cell in cells for problem in _mistakes(cell)]
    notebook = v4.new_notebook(metadata=json.loads(json.dumps(_NOTEBOOK)))
    if not problems:
        for cell, cell_id in zip(cells, _ids(cells), strict=True):
            try:
                notebook.cells.append(_notebook_cell(cell, cell_id))
            except _NoFigure as missing:
                problems.append(Problem(cell.line, str(missing)))
    if problems:
        raise BadSource(problems)
    return notebook


def release(exercise: Exercise) -> str:
    """The text of the learner's notebook: nbgrader's preprocessors in its own order, but for writing its gradebook."""
    from nbconvert.exporters import NotebookExporter
    from nbgrader.converters import GenerateAssignment
    from nbgrader.preprocessors import SaveCells
    from traitlets.config import Config
    from traitlets.config.loader import PyFileConfigLoader

    config = Config()
    if (exercise.root / "nbgrader_config.py").exists():
        config = PyFileConfigLoader("nbgrader_config.py", path=str(exercise.root)).load_config()
    converter = GenerateAssignment(config=config)
    exporter = NotebookExporter(config=converter.config)
    for preprocessor in converter.preprocessors:
        if preprocessor is not SaveCells:
            exporter.register_preprocessor(preprocessor, enabled=True)
    text, _ = exporter.from_notebook_node(read_source(exercise.source), resources={"unique_key": exercise.slug})
    return text


def golden(exercise: Exercise) -> str:
    """The text of the golden notebook, executed. Raises BadSource where a cell fails or cannot be golden."""
    import nbformat

    cells = read_cells(exercise.source.read_text(encoding="utf-8"))
    notebook = read_source(exercise.source)
    _execute(notebook, cells, exercise)
    made = list(zip(cells, notebook.cells, strict=True))
    if flaws := [
        Problem(cell.line, f"this cell is golden, but {flaw}.") for cell, out in made for flaw in _flaws(cell, out)
    ]:
        raise BadSource(flaws)
    for cell, out in made:
        if cell.kind == "code" and not cell.options.get("golden"):
            out.outputs, out.execution_count = [], None
    notebook.metadata = nbformat.from_dict(_NOTEBOOK)
    return nbformat.writes(notebook) + "\n"


def kernel_environment(root: Path = COURSE_ROOT) -> dict[str, str]:
    """Variables that make a kernel's outputs the same everywhere: the course's own IPython profile, SVG figures without
    dates, a fixed hash seed; and Hypothesis keeps its files under build/."""
    profile = root / "build" / "ipython" / "profile_default"
    _write(profile / "ipython_kernel_config.py", _PROFILE)
    return {
        "IPYTHONDIR": str(profile.parent),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(root / "build" / "hypothesis"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONHASHSEED": "0",
    }


def build(
    chosen: Iterable[Exercise], *, check: bool = False, chapters_only: bool = False
) -> dict[Exercise, list[Difference] | BadSource]:
    """Bring the generated files of the exercises up to date, or with `check` only compare.

    Gives, for each exercise, the files that differed (and were written, unless `check`), or what is wrong with its
    source. What was made before from the same inputs, and not touched since, is not made again.
    """
    chosen = list(chosen)
    run = _Run.begin(check, chapters_only)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        try:
            return dict(zip(chosen, pool.map(run.bring_up_to_date, chosen), strict=True))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_kernels()
            raise


# --- one exercise, as far as something changed -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """One run of the build: what it may do, and the digests that all exercises share."""

    check: bool
    chapters_only: bool
    tools: str
    importable: str

    @classmethod
    def begin(cls, check: bool, chapters_only: bool) -> _Run:
        """The learner's notebook follows from its source, the build and nbgrader. The golden one was executed, and
        figures are drawn, so for these all that can be imported counts as well: the course's packages, and the rest."""
        own = [Path(__file__), COURSE_ROOT / "graders" / "source_format.py"]
        packages = {path.name for path in Path(sysconfig.get_path("purelib")).glob("*.dist-info")}
        tools = _digest(sys.version.encode(), repr(sorted(packages)).encode(), *map(_bytes, own))
        return cls(check, chapters_only, tools, _digest(*map(_bytes, _importable())))

    def bring_up_to_date(self, exercise: Exercise) -> list[Difference] | BadSource:
        """Make what is not fresh; give what differed, or the mistakes of the source."""
        source = _bytes(exercise.source)
        own = _digest(self.tools.encode(), source, _bytes(exercise.root / "nbgrader_config.py"))
        executed = _digest(own.encode(), self.importable.encode())
        parts = [(exercise.notebook, release, executed if b"(figure:" in source else own)]
        if not self.chapters_only:
            parts.append((exercise.golden, golden, executed))
        stamps = _Stamps(exercise)
        differences = []
        try:
            for path, make, inputs in parts:
                if not stamps.fresh(path, inputs):
                    text = make(exercise)
                    if _bytes(path) != text.encode():
                        differences.append(Difference(path, _difference(path)))
                        if self.check:
                            continue
                        _write(path, text)
                    stamps.remember(path, inputs)
        except BadSource as bad:
            return bad
        return differences


class _Stamps:
    """Remembers from which inputs each generated file was made and what came out, so that a fresh one is left alone."""

    def __init__(self, exercise: Exercise) -> None:
        self._root = exercise.root
        self._path = exercise.root / "build" / "stamps" / f"{exercise.slug}.json"
        self._known: dict[str, list[str]] = {}
        with suppress(OSError, ValueError):
            self._known = json.loads(self._path.read_text())

    def fresh(self, path: Path, inputs: str) -> bool:
        return path.exists() and self._known.get(self._name(path)) == [inputs, _digest(_bytes(path))]

    def remember(self, path: Path, inputs: str) -> None:
        self._known[self._name(path)] = [inputs, _digest(_bytes(path))]
        _write(self._path, json.dumps(self._known, indent=1))

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def _difference(path: Path) -> str:
    return "is not what its source makes" if path.exists() else "is not there"


def _importable() -> list[Path]:
    """The course's own files that a golden notebook can load; answers and compiled files cannot change its outputs."""
    return [
        path
        for package in ("graders", "shared")
        for path in sorted((COURSE_ROOT / package).rglob("*"))
        if path.is_file() and not {"__pycache__", "answers"} & set(path.parts)
    ]


def _bytes(path: Path) -> bytes:
    """What the file holds; nothing where there is none."""
    return path.read_bytes() if path.exists() else b""


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _write(path: Path, text: str) -> None:
    """Replace the file whole, and only if it changes: a reader never sees half of it."""
    if path.exists() and path.read_bytes() == text.encode():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


# --- from cells to a notebook ----------------------------------------------------------------------------------------


def _notebook_cell(cell: Cell, cell_id: str) -> NotebookNode:
    from nbformat import v4

    if cell.kind == "markdown":
        made = v4.new_markdown_cell(_with_figures(cell.source))
    else:
        made = v4.new_code_cell(cell.source)
        if cell.options.get("golden"):
            made.metadata["tags"] = [_KEPT]
    made.id = cell_id
    if cell.role != "plain":
        made.metadata["nbgrader"] = _nbgrader(cell)
    return made


class _NoFigure(Exception):
    """A figure cannot be drawn; the message is a sentence for the author."""


_drawing = Lock()  # pyplot keeps its figures in one global place


def _with_figures(text: str) -> str:
    """Embed the figures as data, which JupyterLab shows (not so SVG attachments) and which travel with the notebook.

    The data stand in reference definitions under the text, so that the text above stays readable when it is edited.
    """
    definitions = {}

    def embed(match: re.Match[str]) -> str:
        name = match["where"].rsplit(".", 1)[-1].replace("_", "-")
        svg = _draw(match["where"])
        definitions[name] = f"[{name}]: data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
        return f"![{match['alt']}][{name}]"

    text = _FIGURE.sub(embed, text)
    return "\n\n".join([text, *definitions.values()])


def _draw(where: str) -> str:
    module, _, function = where.rpartition(".")
    try:
        draw = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise _NoFigure(f"there is no figure {where}: {error}.") from None
    with _drawing:
        try:
            drawn = draw()
        except Exception as error:
            raise _NoFigure(f"the figure {where} raised {type(error).__name__}: {error}") from error
    svg = drawn if isinstance(drawn, str) else getattr(drawn, "svg", None)
    if not isinstance(svg, str) or "<svg" not in svg:
        raise _NoFigure(f"the figure {where} gave {type(drawn).__name__}, not SVG text.")
    return svg


def _nbgrader(cell: Cell) -> dict[str, Any]:
    """nbgrader's metadata for the role, schema 3."""
    metadata: dict[str, Any] = {
        "grade": cell.role in ("test", "answer"),
        "grade_id": cell.name,
        "locked": cell.role in ("readonly", "test"),
        "schema_version": 3,
        "solution": cell.role in ("solution", "answer"),
        "task": False,
    }
    if metadata["grade"]:
        points = float(cell.options["points"])
        metadata["points"] = int(points) if points.is_integer() else points
    return metadata


def _ids(cells: list[Cell]) -> Iterator[str]:
    """A named cell's id is its name. An unnamed one counts from the named cell above it, so that a new cell renames few
    others; names hold no double hyphen, so the two kinds never meet."""
    above, count = "", 0
    for cell in cells:
        if cell.name:
            above, count = cell.name, 0
            yield cell.name
        else:
            count += 1
            yield f"{above}--{count}"


# --- what a source may hold -------------------------------------------------------------------------------------------


def _mistakes(cell: Cell) -> Iterator[Problem]:
    """What is wrong with a well-formed cell as a part of an exercise."""
    graded = cell.role in ("test", "answer")
    if graded and not cell.options.get("points"):
        yield Problem(cell.line, f'{cell.role}="{cell.name}" says no points; add points=1, or more.')
    if "points" in cell.options and not graded:
        yield Problem(cell.line, "only test and answer cells have points.")
    if cell.kind != ("markdown" if cell.role == "answer" else "code") and cell.role not in ("plain", "readonly"):
        wanted = "`# %% [markdown]`" if cell.role == "answer" else "`# %%`"
        yield Problem(cell.line, f"the header of this cell begins with {wanted}, since its role is {cell.role}.")
    if cell.options.get("golden") and (cell.role, cell.kind) != ("plain", "code"):
        yield Problem(cell.line, "only plain code cells can be golden.")
    if cell.options.get("golden") and not cell.name:
        yield Problem(cell.line, 'a golden cell needs a name; add id="name".')
    yield from _region_mistakes(cell)
    if cell.kind == "code":
        yield from _code_mistakes(cell)


def _region_mistakes(cell: Cell) -> Iterator[Problem]:
    opened: int | None = None
    regions = 0
    for number, line in enumerate(cell.source.split("\n"), start=cell.body_line):
        if "BEGIN SOLUTION" in line:
            regions += 1
            if opened is not None:
                yield Problem(number, f"{_BEGIN} again, before the {_END} of line {opened}.")
            opened = number
        elif "END SOLUTION" in line:
            if opened is None:
                yield Problem(number, f"{_END} without a {_BEGIN} above it.")
            opened = None
    if opened is not None:
        yield Problem(opened, f"this {_BEGIN} has no {_END} in its cell.")
    if regions and cell.role not in ("solution", "answer"):
        yield Problem(cell.line, 'a solution belongs in a cell with solution="name", or it would be released.')
    if not regions and cell.role == "solution":
        yield Problem(cell.line, f"a solution cell marks what the learner writes: {_BEGIN} … {_END}.")
    if not regions and cell.role == "answer":
        marks = f"<!-- {_BEGIN} --> … <!-- {_END} -->"
        yield Problem(cell.line, f"an answer cell without {marks} is released without its question.")


def _code_mistakes(cell: Cell) -> Iterator[Problem]:
    try:
        tree = compile(cell.source, "source", "exec", flags=_COMPILE)
    except SyntaxError as error:
        yield Problem(cell.body_line + (error.lineno or 1) - 1, f"Python cannot read this: {error.msg}.")
        return
    if cell.role == "test" and not _is_check_call(tree, cell):
        call = f"check.{str(cell.name).replace('-', '_')}(…)"
        yield Problem(cell.line, f'test="{cell.name}" holds one line, {call}, with the names that the learner defines.')


def _is_check_call(tree: Any, cell: Cell) -> bool:
    match tree.body:
        case [ast.Expr(ast.Call(ast.Attribute(ast.Name("check"), attribute), arguments, []))]:
            names = all(isinstance(argument, ast.Name) for argument in arguments)
            return bool(names and arguments and attribute == str(cell.name).replace("-", "_"))
    return False


# --- executing --------------------------------------------------------------------------------------------------------

_running: set[NotebookClient] = set()
_running_lock = Lock()


def _execute(notebook: NotebookNode, cells: list[Cell], exercise: Exercise) -> None:
    """Run the notebook in place; the first cell that fails is told by the line of its header."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    reached = 0

    def note(cell: NotebookNode, cell_index: int) -> None:
        nonlocal reached
        reached = cell_index

    try:
        run_cells(notebook, exercise.source.parent, exercise.root, on_cell_start=note)
    except CellExecutionError as error:
        what = f"this cell raised {error.ename}: {_one_line(error.evalue)}"
    except CellTimeoutError:
        what = f"this cell ran for more than {CELL_SECONDS} s."
    except DeadKernelError:
        what = "this cell ended the kernel."
    else:
        return
    raise BadSource([Problem(cells[reached].line, what)])


def run_cells(notebook: NotebookNode, folder: Path, root: Path, **options: Any) -> None:
    """Execute a notebook in place, in a fresh kernel that works in `folder`; `options` are those of nbclient.

    Raises nbclient's CellExecutionError, CellTimeoutError and DeadKernelError; `end_kernels` ends it from elsewhere.
    """
    from nbclient import NotebookClient

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_SECONDS,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
        **options,
    )
    with _running_lock:
        _running.add(client)
    try:
        client.execute(env={**os.environ, **kernel_environment(root)})
    finally:
        with _running_lock:
            _running.discard(client)


def end_kernels() -> None:
    """Kill the kernels that other threads wait for, so that those threads end at once."""
    with _running_lock:
        for client in _running:
            pid = getattr(getattr(client.km, "provisioner", None), "pid", None)
            if pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _flaws(cell: Cell, made: NotebookNode) -> Iterator[str]:
    """What keeps the outputs of a golden cell from being the same bytes next time."""
    if not cell.options.get("golden"):
        return
    if not made.outputs:
        yield "it shows nothing"
    for output in made.outputs:
        kinds = set(output.get("data", {}))
        if output.get("name") == "stderr":
            yield "it writes to stderr"
        if any("widget" in kind for kind in kinds):
            yield "it shows a widget, which has another name in every run"
        if kinds & {"image/png", "image/jpeg"}:
            yield "it shows a bitmap; show a figure as SVG"
        if _ADDRESS.search(json.dumps(output)):
            yield "it shows a memory address"


def _one_line(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[0] if lines else "(no message)"


# --- command line -----------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None, root: Path = COURSE_ROOT) -> int:
    """The command; gives the exit code: 1 where a source is wrong or, with --check, where a file differs."""
    parser = argparse.ArgumentParser(prog="python -m tools.build", description="Make the notebooks from their sources.")
    parser.add_argument("exercise", nargs="*", help="numbers or slugs; all exercises if none is given")
    parser.add_argument("--check", action="store_true", help="write nothing; say which file differs from its source")
    parser.add_argument("--chapters", action="store_true", help="only the learners' notebooks, which needs no kernel")
    options = parser.parse_args(arguments)
    try:
        chosen = [find(name, root) for name in options.exercise] or exercises(root)
    except UnknownExercise as unknown:
        print(unknown, file=sys.stderr)
        return 2
    started = time.monotonic()
    results = build(chosen, check=options.check, chapters_only=options.chapters)
    lines = [] if options.exercise else [f"{_shown(path, root)} has no source: remove it." for path in orphans(root)]
    lines += [line for exercise, result in results.items() for line in _report(exercise, result, options.check)]
    for line in lines:
        print(line)
    wrong = any(isinstance(result, BadSource) for result in results.values())
    if not lines:
        print(f"{len(results)} exercises are up to date ({time.monotonic() - started:.1f} s).")
    return 1 if wrong or (options.check and lines) else 0


def orphans(root: Path) -> list[Path]:
    """Generated notebooks whose source is gone."""
    made = {path for exercise in exercises(root) for path in (exercise.notebook, exercise.golden)}
    found = [path for folder in ("chapters", "solutions") for path in sorted((root / folder).glob("*/*.ipynb"))]
    return [path for path in found if path not in made]


def _report(exercise: Exercise, result: list[Difference] | BadSource, check: bool) -> Iterator[str]:
    source = _shown(exercise.source, exercise.root)
    if isinstance(result, BadSource):
        for problem in result.problems:
            yield f"{source}:{problem.line}: {problem.message}"
        return
    for difference in result:
        path = _shown(difference.path, exercise.root)
        yield f"{path} {difference.why}: edit {source}, then make build." if check else f"{path} written from {source}."


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Stopped; what was written is whole.")
