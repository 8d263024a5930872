"""The machinery beside an answer as it was before the answer ran, put back before every scenario.

It closes the cheap ways to a false history, such as a simulation that never switches threads. It is no boundary: code
in the same process can undo it, so a judge refuses what is not a whole history, and points stay with the examiner.
"""

from __future__ import annotations

import operator
import sys
import threading
import types
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["Pristine"]

_PACKAGES = ("graders", "shared.simulation", "json", "random")
_LOOSE = {sys: ("settrace", "setprofile", "_getframe"), threading: ("settrace", "setprofile")}
_BEHAVIOUR = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
    types.MemberDescriptorType,
    type,
    property,
    staticmethod,
    classmethod,
)
"""What is put back. Other values are state, which belongs to the run."""


class Pristine:
    """What functions, classes and modules of the machinery were when this was made. Not thread-safe."""

    def __init__(self) -> None:
        self._owners = [_Owner(owner, names) for owner, names in _LOOSE.items()]
        functions: dict[types.FunctionType, None] = {}
        for module in [module for name, module in sys.modules.items() if _is_machinery(name)]:
            owners: list[types.ModuleType | type] = [module, *_classes_of(module)]
            for owner in owners:
                noted = _Owner(owner, _behaviour_of(owner))
                self._owners.append(noted)
                functions.update(dict.fromkeys(function for value in noted.values for function in _functions_in(value)))
        self._functions = tuple(functions)
        self._inside = tuple(map(_INSIDE, functions))

    def restore(self) -> None:
        """Put back what was changed, and take away what was added to a class."""
        for owner in self._owners:
            if owner.is_changed():
                owner.restore()
        for function, inside in zip(self._functions, self._inside, strict=True):
            if _INSIDE(function) != inside:
                function.__code__, function.__defaults__, function.__kwdefaults__ = inside


class _Owner:
    """A module or class, and what some of its names were."""

    def __init__(self, owner: types.ModuleType | type, names: Iterable[str]) -> None:
        self._owner = owner
        self._names = tuple(names)
        self._all_names = frozenset(vars(owner))
        self.values = tuple(vars(owner)[name] for name in self._names)

    def is_changed(self) -> bool:
        now = vars(self._owner)
        grown = isinstance(self._owner, type) and len(now) != len(self._all_names)
        return grown or not all(map(operator.is_, map(now.get, self._names), self.values))

    def restore(self) -> None:
        if isinstance(self._owner, type):
            for name in vars(self._owner).keys() - self._all_names:
                delattr(self._owner, name)
        for name, value in zip(self._names, self.values, strict=True):
            setattr(self._owner, name, value)


_INSIDE = operator.attrgetter("__code__", "__defaults__", "__kwdefaults__")


def _behaviour_of(owner: types.ModuleType | type) -> list[str]:
    """The names that make it act as it does; not the names of a module that Python itself keeps."""
    dunder = isinstance(owner, type)
    return [
        name
        for name, value in vars(owner).items()
        if isinstance(value, _BEHAVIOUR) and (dunder or not name.startswith("__"))
    ]


def _is_machinery(name: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in _PACKAGES)


def _classes_of(module: types.ModuleType) -> Iterator[type]:
    for value in list(vars(module).values()):
        if isinstance(value, type) and value.__module__ == module.__name__:
            yield value


def _functions_in(value: Any) -> Iterator[types.FunctionType]:
    parts = (value.fget, value.fset) if isinstance(value, property) else (getattr(value, "__func__", value),)
    for part in parts:
        if isinstance(part, types.FunctionType):
            yield part
