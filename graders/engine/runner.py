"""The process that executes one answer. It is untrusted from the first solution cell on: nothing it sends is believed.

It runs the trusted set-up cells, then the solution cells, then drives scenarios as it is asked to, one at a time.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import functools
import linecache
import os
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any, NoReturn

from graders.engine.pristine import Pristine
from graders.engine.wire import Channel, Closed
from graders.kit import Check, Plan, Recording, checks_in, play_each

__all__ = ["ChecksElsewhere", "Withheld", "check_module", "driver_module", "enter", "imports_of"]

_TEXT = 2_000
_STACK = 2 << 20
"""Of each thread, in bytes: with the usual 8 MiB, a hundred idle threads would reach the memory limit."""
_FAILED = 70


class Withheld(MetaPathFinder):
    """Refuses to import what the exercise asks for. First on `sys.meta_path` in every process that runs answers."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if any(fullname == name or fullname.startswith(name + ".") for name in self._names):
            raise ModuleNotFoundError(f"{fullname} is not available while an answer is graded", name=fullname)
        return None


class ChecksElsewhere:
    """`check` where answers run: the examiner has the checks, so calling one of these does nothing."""

    def __init__(self, exercise: str) -> None:
        """In place of `checks_for`, which looks for sources that are not there."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *answers: None


@functools.lru_cache(maxsize=8)
def _compiled(source: str, filename: str) -> types.CodeType:
    # Cached before the fork for the trusted sources, so that each answer need not compile them again.
    return compile(source, filename, "exec", dont_inherit=True)


def check_module(source: str, name: str, filename: str) -> types.ModuleType:
    """A check module executed afresh from its source: nothing of an earlier one, or of an answer, is in it."""
    return _executed(source, name, filename, builtins)


def driver_module(source: str, name: str, filename: str) -> types.ModuleType:
    """The same without strategies: its checks drive and judge, but nothing can be drawn from them beside an answer."""
    # Making real strategies is most of the time that executing a check module takes.
    return _executed(source, name, filename, {**vars(builtins), "__import__": _import_without_strategies})


def _executed(source: str, name: str, filename: str, names: types.ModuleType | dict[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(__file__=filename, __builtins__=names)
    sys.modules[name] = module
    exec(_compiled(source, filename), module.__dict__)
    return module


def _import_without_strategies(name: str, *rest: Any) -> Any:
    return _Undrawn() if name.partition(".")[0] == "hypothesis" else __import__(name, *rest)


class _Undrawn:
    """Stands for Hypothesis and its strategies beside an answer, whatever a check module makes of them."""

    def __getattr__(self, name: str) -> _Undrawn:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *arguments: Any, **options: Any) -> _Undrawn:
        return self

    def __or__(self, other: Any) -> _Undrawn:
        return self


def imports_of(sources: Iterable[str]) -> list[str]:
    """The modules that trusted sources import at their top level."""
    names: list[str] = []
    for source in sources:
        for node in ast.parse(source).body:
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.append(node.module)
    return list(dict.fromkeys(names))


def enter(channel: Channel, home: str, pristine: Pristine) -> NoReturn:
    """Become the runner of one answer: the last trusted step in a fork. Never returns."""
    os.chdir(home)
    os.environ.update(HOME=home, TMPDIR=home, HYPOTHESIS_STORAGE_DIRECTORY=home)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    threading.stack_size(_STACK)
    code = _FAILED
    try:
        _serve(channel, pristine)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                continue
        os._exit(code)


def _serve(channel: Channel, pristine: Pristine) -> None:
    """Answer the examiner's requests until it closes the connection."""
    namespace = _notebook_namespace()
    checks: dict[str, Check] = {}
    while True:
        try:
            request = channel.receive()
            pristine.restore()
            channel.send(_reply(request, namespace, checks))
        except Closed:
            return


def _reply(request: dict[str, Any], namespace: dict[str, Any], checks: dict[str, Check]) -> dict[str, Any]:
    try:
        match request["op"]:
            case "setup":
                for number, source in enumerate(request["cells"], start=1):
                    if trouble := _run_cell(f"setup-{number}", source, namespace):
                        return {"trouble": trouble}
                return {}
            case "start":
                return {
                    "troubles": {cell: _run_cell(cell, source, namespace) for cell, source in request["cells"].items()}
                }
            case "check":
                module = driver_module(request["source"], request["module"], request["file"])
                checks.clear()
                checks[request["check"]] = checks_in(module)[request["check"]]
                return {}
            case "drive":
                return _driven(request, namespace, checks)
            case unknown:
                raise ValueError(f"unknown request {unknown!r}")
    except MemoryError:
        return {"out_of_memory": True}


def _driven(request: dict[str, Any], namespace: dict[str, Any], checks: dict[str, Check]) -> dict[str, Any]:
    for name in request["answers"]:
        if name not in namespace:
            return {"missing": name}
    answers = tuple(namespace[name] for name in request["answers"])
    plan = request["plan"]
    if plan["schedule"] is not None:
        plan["schedule"] = {int(step): thread for step, thread in plan["schedule"].items()}
    answer = answers if len(answers) > 1 else answers[0]
    played = play_each(checks[request["check"]], answer, request["scenarios"], Plan(**plan))
    if any(_ran_out_of_memory(recording) for recordings in played for recording in recordings):
        return {"out_of_memory": True}
    return {"recordings": played}


def _ran_out_of_memory(recording: Recording) -> bool:
    trouble = recording["trouble"]
    return bool(trouble and trouble["message"].startswith(MemoryError.__name__)) or any(
        event.get("error") == MemoryError.__name__ for event in recording["history"]
    )


def _notebook_namespace() -> dict[str, Any]:
    """A `__main__` module as in a kernel: dataclasses, pickle and type hints look their names up in it."""
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    return main.__dict__


def _run_cell(cell: str, source: str, namespace: dict[str, Any]) -> dict[str, Any] | None:
    """Run one cell as a notebook does; what stopped it as plain data, or None."""
    filename = f"<cell {cell}>"
    lines = source.splitlines(keepends=True)
    linecache.cache[filename] = (len(source), None, lines, filename)
    try:
        code = compile(source, filename, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(code, namespace)
        if code.co_flags & 0x80:  # CO_COROUTINE: the cell awaits at its top level
            asyncio.run(result)
    except BaseException as error:  # SystemExit and KeyboardInterrupt of an answer end its cell only
        return _trouble(error, filename, lines)
    return None


def _trouble(error: BaseException, filename: str, lines: list[str]) -> dict[str, Any]:
    line = None
    if isinstance(error, SyntaxError) and error.filename == filename:
        line = error.lineno
    else:
        for frame, number in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename == filename:
                line = number
    try:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:
        message = ""
    text = lines[line - 1].strip() if line and line <= len(lines) else ""
    return {"kind": type(error).__name__, "message": str(message)[:_TEXT], "line": line, "text": text[:_TEXT]}
