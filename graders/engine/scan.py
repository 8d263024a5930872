"""Finds where an answer reaches for the machinery that grades it. It informs a person; it never changes a score.

A scan can be evaded and can be wrong: what keeps grading honest is that points come from the examiner's record alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["suspicious"]

_MODULES = {
    "graders": "the graders",
    "hypothesis": "the generator of scenarios",
    "gc": "objects of other code through gc",
    "ctypes": "memory through ctypes",
    "_ctypes": "memory through ctypes",
    "importlib": "the import machinery",
    "builtins": "the built-in functions",
    "shared.simulation": "the simulation",
}
_IMPORTS_FREELY = {"shared.simulation", "importlib"}
"""Modules that lessons use too: only changing what is in them is worth a look."""
_ATTRIBUTES = {
    "_getframe": "the call stack",
    "_current_frames": "the call stack",
    "currentframe": "the call stack",
    "getouterframes": "the call stack",
    "f_back": "the call stack",
    "f_locals": "the variables of other functions",
    "f_globals": "the variables of other modules",
    "tb_frame": "the call stack",
    "gi_frame": "the call stack",
    "settrace": "a tracing hook",
    "setprofile": "a tracing hook",
    "set_tool_id": "a tracing hook",
    "use_tool_id": "a tracing hook",
    "addaudithook": "an audit hook",
    "meta_path": "the import machinery",
    "path_hooks": "the import machinery",
    "__subclasses__": "every class of the process",
    "__globals__": "the variables of other modules",
    "__code__": "compiled code",
    "get_objects": "objects of other code through gc",
    "get_referrers": "objects of other code through gc",
    "register_at_fork": "a fork hook",
}
_MOST = 30
"""Findings that are told: a person needs no more of them to look."""
_WORDS = 80

_WRITES = {"modules": "sys.modules", "__dict__": "the inside of another module"}


def suspicious(source: str) -> list[str]:
    """Findings as short sentences with a line number, in their order, each once; of very many, the first."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    try:
        found = sorted(set(_findings(tree)))
    except RecursionError:
        return ["it is nested too deeply to be read"]
    told = [f"line {line} reaches for {what[:_WORDS]}" for line, what in found[:_MOST]]
    return told + [f"and {len(found) - _MOST} more places"] * (len(found) > _MOST)


def _findings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    imported: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    imported.add((alias.asname or alias.name).split(".")[0])
                    if what := _module(alias.name):
                        yield node.lineno, what
            case ast.ImportFrom(module=str(module), names=names):
                imported |= {alias.asname or alias.name for alias in names}
                if what := _module(module):
                    yield node.lineno, what
                for alias in names:
                    if what := _ATTRIBUTES.get(alias.name) or _module(f"{module}.{alias.name}"):
                        yield node.lineno, what
            case ast.Attribute(value=ast.Name("os"), attr="_exit"):
                yield node.lineno, "the end of its process"
            case ast.Attribute(attr=attribute) if attribute in _ATTRIBUTES:
                yield node.lineno, _ATTRIBUTES[attribute]
            case ast.Call(func=ast.Name(id="__import__" | "exec" | "eval" as name)):
                yield node.lineno, f"code that is not in the answer's text ({name})"
    for node in ast.walk(tree):
        for target in _targets(node):
            yield from _written(target, imported)


def _module(name: str) -> str | None:
    # Two parts name every module of the table: what follows need not be read, however long it is.
    package, *rest = name.split(".", 2)
    for known in (".".join([package, *rest[:1]]), package):
        if known in _MODULES:
            return None if known in _IMPORTS_FREELY else _MODULES[known]
    return None


def _targets(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.Assign(targets=targets) | ast.Delete(targets=targets):
            return targets
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            return [target]
        case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[first, *_]):
            return [ast.Attribute(value=first, attr="", lineno=node.lineno)]
    return []


def _written(target: ast.expr, imported: set[str]) -> Iterator[tuple[int, str]]:
    match target:
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from _written(part, imported)
        case ast.Subscript(value=ast.Attribute(attr=attribute) as owner) if attribute in _WRITES:
            if _root(owner) in imported:
                yield target.lineno, f"{_WRITES[attribute]}, which it changes"
        case ast.Attribute(value=owner) if _root(owner) in imported:
            yield target.lineno, f"{ast.unparse(owner)}, which it changes"


def _root(owner: ast.expr) -> str | None:
    """The name on which a chain of attributes begins."""
    while isinstance(owner, ast.Attribute):
        owner = owner.value
    return owner.id if isinstance(owner, ast.Name) else None
