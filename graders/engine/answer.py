"""Rebuild: what a learner wrote, as the source text of solution cells, and nothing else of what they handed in.

Metadata, outputs, other cells and edited checks of a submitted notebook have no way past this module.
"""

from __future__ import annotations

import ast
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graders.course import Exercise
from graders.engine.release import Release, cell_source
from graders.engine.scan import suspicious
from graders.source_format import BadSource, read_cells, solutions

__all__ = ["Answer", "BadAnswer", "read_answer", "without_magics"]

_MAX_BYTES = 20 * (1 << 20)
_MAX_CELL = 1 << 16
_MAGIC_WORK = 1 << 22
"""Characters that are parsed, at most, to find the magics of one cell: each one found takes one more reading."""
_TIMING_MAGICS = {"time", "timeit", "capture", "prun", "memit"}


class BadAnswer(Exception):
    """The file cannot be graded. The text is one sentence for the person who handed it in."""


@dataclass(frozen=True)
class Answer:
    """Source text by solution-cell id, with what a person should know about how it was handed in."""

    cells: Mapping[str, str]
    flags: tuple[str, ...] = field(default=())

    def is_unanswered(self, cell: str, stub: str) -> bool:
        """Whether a cell is missing, empty, or still as it was released."""
        source = self.cells.get(cell, "")
        return _normal(source) == _normal(stub) or _says_nothing(source)

    def suspicious(self) -> list[str]:
        """Where the answer reaches for the machinery of grading: for a person to look at, never for the score."""
        return [f"{cell}: {finding}" for cell, source in self.cells.items() for finding in suspicious(source)]


def read_answer(path: Path | str, exercise: Exercise) -> Answer:
    """The answer in a submitted notebook (`.ipynb`), or in a percent-format `.py` that holds solution cells only.

    Raises BadAnswer for a file that is no regular file, too large, damaged, or without a solution cell of the exercise.
    """
    path = Path(path)
    text = _text_of(path)
    stubs = Release.load(exercise).stubs
    if path.suffix == ".py":
        found, flags = _from_source(path.name, text)
    else:
        found, flags = _from_notebook(path.name, text, set(stubs))
    unknown = sorted(set(found) - set(stubs))
    flags += [f"{cell}: the exercise has no such solution cell; it was ignored" for cell in unknown]
    if not set(found) & set(stubs):
        raise BadAnswer(f"{path.name} has no solution cell of exercise {exercise.number} ({', '.join(stubs)}).")
    flags += [f"{cell}: the cell is missing" for cell in stubs if cell not in found]
    cells = {}
    for cell in stubs:
        if cell not in found:
            continue
        parts = found[cell]
        if len(parts) > 1:
            flags.append(f"{cell}: {len(parts)} cells have this id; those that were changed were run in their order")
            parts = [part for part in parts if _normal(part) != _normal(stubs[cell])] or parts[:1]
        if sum(map(len, parts)) > _MAX_CELL:
            raise BadAnswer(f"{path.name}: cell {cell} is longer than {_MAX_CELL:,} characters.")
        cells[cell] = "\n\n".join(without_magics(part) for part in parts)
    return Answer(cells, tuple(flags))


def _text_of(path: Path) -> str:
    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BadAnswer(f"{path} does not exist.") from None
    except OSError as error:
        reason = "is a link; hand in the file itself" if path.is_symlink() else f"cannot be opened ({error.strerror})"
        raise BadAnswer(f"{path.name} {reason}.") from None
    except ValueError:
        raise BadAnswer("That is no file name.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadAnswer(f"{path.name} is not a regular file.")
    with open(descriptor, "rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise BadAnswer(f"{path.name} is larger than {_MAX_BYTES >> 20} MiB; clear its outputs and hand it in again.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadAnswer(f"{path.name} is damaged: it is not UTF-8 text (byte {error.start}).") from None


def _from_notebook(name: str, text: str, known: set[str]) -> tuple[dict[str, list[str]], list[str]]:
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise BadAnswer(f"{name} is damaged: it is no notebook that can be read{where}.") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise BadAnswer(f"{name} is no notebook of format 4; open it in JupyterLab, save it and hand it in again.")
    found: dict[str, list[str]] = {}
    flags = []
    for number, cell in enumerate(cells, start=1):
        grade_id = _grade_id(cell)
        if grade_id not in known:
            continue
        try:
            source = cell_source(cell)
        except TypeError:
            raise BadAnswer(f"{name} is damaged: cell {number} ({grade_id}) holds no text.") from None
        if cell.get("cell_type") != "code":
            flags.append(f"{grade_id}: the cell was no longer a code cell; it was run as one")
        found.setdefault(grade_id, []).append(source)
    return found, flags


def _grade_id(cell: Any) -> str | None:
    """The grade id of a submitted cell, where its metadata have the form that nbgrader writes."""
    for key in ("metadata", "nbgrader", "grade_id"):
        cell = cell.get(key) if isinstance(cell, dict) else None
    return cell if isinstance(cell, str) else None


def _from_source(name: str, text: str) -> tuple[dict[str, list[str]], list[str]]:
    try:
        cells = solutions(read_cells(text))
    except BadSource as error:
        raise BadAnswer(f"{name}: {error}") from None
    return {cell: [source] for cell, source in cells.items()}, []


def without_magics(source: str) -> str:
    """A cell as plain Python, with the same line numbers.

    `%%time` and its kind, line magics, `!commands` and `name?` are taken out; a cell of another language (`%%bash`)
    becomes empty. Only a line where Python itself stops is touched, so text that looks like a magic stays as it is.
    A cell with more magics than anybody writes keeps the rest of them, and will not run.
    """
    lines = source.split("\n")
    first = next((index for index, line in enumerate(lines) if line.strip()), None)
    if first is not None and (magic := re.match(r"%%(\w+)", lines[first])):
        if magic[1] not in _TIMING_MAGICS:
            return ""
        lines[first] = ""
    for _ in range(1 + _MAGIC_WORK // (len(source) + 1)):
        text = "\n".join(lines)
        try:
            ast.parse(text)
        except SyntaxError as error:
            index = (error.lineno or 0) - 1
            if not 0 <= index < len(lines) or (plain := _without_magic(lines[index])) is None:
                return text
            lines[index] = plain
        except (ValueError, RecursionError, MemoryError):
            return text
        else:
            return text
    return "\n".join(lines)


def _without_magic(line: str) -> str | None:
    # The ends are cut off first: an expression that searches for them takes quadratic time on a long line of blanks.
    text = line.strip()
    indent = line[: len(line) - len(line.lstrip())]
    if match := re.match(r"%(?:time|timeit|prun)\s+(?!-)(.+)", text):
        return indent + match[1]
    if text.startswith(("%", "!", "?")) or re.search(r"\w\?{1,2}\Z", text):
        return indent + "pass"
    if match := re.match(r"(\w+\s*=\s*)[%!]", text):
        return indent + match[1] + "None"
    return None


def _normal(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def _says_nothing(source: str) -> bool:
    try:
        return not ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return not source.strip()
