"""Reads the percent format, of sources and answer files alike; every mistake in a text is told at once, by line.

The same cells as jupytext's `py:percent`, with three differences that serve people and graders: the header of a cell is
checked to the letter, each cell knows its line, and reading costs no notebook library.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = [
    "AnswerFile",
    "BadSource",
    "Cell",
    "Problem",
    "read_answer",
    "read_cells",
    "solutions",
]

ROLES = ("readonly", "solution", "test", "answer")
OPTIONS = ("points", "golden")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME_LENGTH = 48
_HEADER = re.compile(r"# %%(?P<markdown> \[markdown\])?(?P<options>( .*)?)")
_OPTION = re.compile(r'(?P<key>[A-Za-z_]\w*)=(?:"(?P<text>[^"]*)"|(?P<bare>[^\s"]+))')


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake: the line (counted from 1) and a sentence that says what to change."""

    line: int
    message: str


class BadSource(ValueError):
    """A text that is not in the format; `problems` holds every mistake that was found, in the order of lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("; ".join(f"line {problem.line}: {problem.message}" for problem in self.problems))


@dataclass(frozen=True)
class Cell:
    """One cell. `role` is readonly, solution, test, answer, or plain; `name` is its stable id, None for unnamed cells.

    `kind` is code or markdown; `options` are those of OPTIONS that the header gave (points: float, golden: bool);
    `source` is the body without outer blank lines, a markdown body without its comment marks; `line` is the header's.
    """

    role: str
    name: str | None
    kind: str
    options: dict[str, float | bool] = field(hash=False)
    source: str
    line: int
    body_line: int


@dataclass(frozen=True)
class AnswerFile:
    """An answer that checks are tested with: its solution cells and what its header promises.

    Exactly one of `right` (the design) and `wrong` (the mistake) is set; `fails` names the checks that a wrong answer
    fails, and `says` the words that the failure card of the first one must hold. Both may be empty, in a draft.
    """

    solutions: dict[str, str]
    right: str | None
    wrong: str | None
    fails: tuple[str, ...]
    says: tuple[str, ...]


def read_cells(text: str) -> list[Cell]:
    """The cells of a text, in order; comments above the first header are no cell. Raises BadSource."""
    cells, problems = _parse(text)
    names: dict[str, int] = {}
    for cell in cells:
        if cell.name is not None and names.setdefault(cell.name, cell.line) != cell.line:
            message = f'the name "{cell.name}" is taken by the cell at line {names[cell.name]}; give each cell its own.'
            problems.append(Problem(cell.line, message))
    if not cells and not problems:
        problems.append(Problem(1, 'there is no cell; one begins with a line such as: # %% solution="name".'))
    if problems:
        raise BadSource(problems)
    return cells


def solutions(cells: Iterable[Cell]) -> dict[str, str]:
    """The text of each solution cell, by its id."""
    return {cell.name: cell.source for cell in cells if cell.role == "solution" and cell.name}


def read_answer(text: str) -> AnswerFile:
    """A right or wrong answer with the promises of its header. Raises BadSource, for cells of another role too."""
    problems: list[Problem] = []
    try:
        cells = read_cells(text)
    except BadSource as bad:
        cells = []
        problems += bad.problems
    problems += [
        Problem(cell.line, "an answer holds solution cells only.") for cell in cells if cell.role != "solution"
    ]
    promises: dict[str, list[str]] = {"right": [], "wrong": [], "fails": [], "says": []}
    for number, line in enumerate(_lines(text), start=1):
        if _HEADER.fullmatch(line):
            break
        if match := re.fullmatch(r"# (right|wrong|fails|says):(.*)", line):
            if value := match[2].strip():
                promises[match[1]].append(value)
            else:
                problems.append(Problem(number, f"`# {match[1]}:` says nothing; complete the line."))
    problems += _promise_problems(promises)
    if problems:
        raise BadSource(problems)
    return AnswerFile(
        solutions=solutions(cells),
        right=next(iter(promises["right"]), None),
        wrong=next(iter(promises["wrong"]), None),
        fails=tuple(name.strip() for line in promises["fails"] for name in line.split(",") if name.strip()),
        says=tuple(promises["says"]),
    )


def _promise_problems(promises: dict[str, list[str]]) -> list[Problem]:
    if len(promises["right"]) + len(promises["wrong"]) != 1:
        return [Problem(1, "the header says exactly one of `# right: the design` and `# wrong: the mistake`.")]
    if promises["right"] and (promises["fails"] or promises["says"]):
        return [Problem(1, "a right answer fails nothing: remove `# fails:` and `# says:`.")]
    return []


def _lines(text: str) -> list[str]:
    # Not splitlines(): a form feed or another exotic separator inside a string of the code is no end of a line.
    return text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")


def _parse(text: str) -> tuple[list[Cell], list[Problem]]:
    lines = _lines(text)
    starts = [index for index, line in enumerate(lines) if line.startswith("# %%")]
    problems = [
        Problem(index + 1, "only comments may stand above the first cell.")
        for index, line in enumerate(lines[: starts[0]] if starts else lines)
        if line.strip() and not line.startswith("#")
    ][:1]
    cells = []
    for start, end in itertools.pairwise([*starts, len(lines)]):
        cell, found = _cell(lines, start, end)
        cells.append(cell)
        problems += found
    return cells, problems


def _cell(lines: list[str], start: int, end: int) -> tuple[Cell, list[Problem]]:
    line = start + 1
    header = _HEADER.fullmatch(lines[start].rstrip())
    if header is None:
        message = 'a header is `# %%` or `# %% [markdown]`, then options such as test="name" points=2.'
        return Cell("plain", None, "code", {}, "", line, line), [Problem(line, message)]
    problems: list[Problem] = []
    given = _options(header["options"], line, problems)
    kind = "markdown" if header["markdown"] else "code"
    role, name = _role(given, line, problems)
    body_start, body = _body(lines, start + 1, end, kind, problems)
    options = {key: value for key in OPTIONS if (value := _value(key, given, line, problems)) is not None}
    return Cell(role, name, kind, options, body, line, body_start), problems


def _options(text: str, line: int, problems: list[Problem]) -> dict[str, str]:
    given: dict[str, str] = {}
    known = (*ROLES, "id", *OPTIONS)
    for match in _OPTION.finditer(text):
        key = match["key"]
        if key not in known:
            problems.append(Problem(line, f"{key} is no option of a cell; there are {', '.join(known)}."))
        elif key in given:
            problems.append(Problem(line, f"{key} is given twice."))
        else:
            given[key] = match["text"] if match["text"] is not None else match["bare"]
    if rest := _OPTION.sub("", text).strip():
        problems.append(Problem(line, f'"{rest}" is no option; write options as name="value".'))
    return given


def _role(given: dict[str, str], line: int, problems: list[Problem]) -> tuple[str, str | None]:
    chosen = [key for key in (*ROLES, "id") if key in given]
    if len(chosen) > 1:
        problems.append(Problem(line, f"a cell has one role, and this one has {' and '.join(chosen)}."))
    if not chosen:
        return "plain", None
    name = given[chosen[0]]
    if not _NAME.fullmatch(name) or len(name) > _NAME_LENGTH:
        message = f'"{name}" is no name: use small letters, digits and single hyphens, at most {_NAME_LENGTH}.'
        problems.append(Problem(line, message))
    return ("plain" if chosen[0] == "id" else chosen[0]), name


def _value(key: str, given: dict[str, str], line: int, problems: list[Problem]) -> float | bool | None:
    if key not in given:
        return None
    text = given[key]
    if key == "golden":
        if text not in ("true", "false"):
            problems.append(Problem(line, f"golden is true or false, not {text}."))
        return text == "true"
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        problems.append(Problem(line, f"points is a number such as 2 or 0.5, not {text}."))
        return None
    return float(text)


def _body(lines: list[str], start: int, end: int, kind: str, problems: list[Problem]) -> tuple[int, str]:
    """The line where the body begins (from 1) and its text."""
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    body = lines[start:end]
    if kind == "markdown":
        for number, line in enumerate(body, start=start + 1):
            if line.strip() and not re.match(r"#( |$)", line):
                problems.append(Problem(number, "a line of a markdown cell begins with `# `."))
                break
        body = [line[2:] for line in body]
    return start + 1, "\n".join(body)
