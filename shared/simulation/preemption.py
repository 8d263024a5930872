"""Makes the operations of the code under test on shared memory into switch points.

Invariant: a thread is stopped only before an instruction of traced code that reads or writes something another thread
may see, or that jumps back; untraced code (Python, packages, the checks) runs through.
"""

from __future__ import annotations

import _thread
import dis
import functools
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

from shared.simulation.scheduler import ControlledThread, controlled
from shared.simulation.strategies import ANY, SHARED
from shared.simulation.wording import is_library

_get_ident = _thread.get_ident
_settrace, _getframe = sys.settrace, sys._getframe

_READS = {
    "LOAD_ATTR", "LOAD_SUPER_ATTR", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF",
    "LOAD_FROM_DICT_OR_DEREF", "LOAD_FROM_DICT_OR_GLOBALS",
}  # fmt: skip
_WRITES = {
    "STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL", "STORE_NAME", "STORE_DEREF", "DELETE_DEREF",
}  # fmt: skip
_CONTAINERS = {
    "BINARY_SUBSCR", "STORE_SUBSCR", "DELETE_SUBSCR", "BINARY_SLICE", "STORE_SLICE", "CONTAINS_OP", "FOR_ITER",
    "LOAD_METHOD",
}  # fmt: skip
_INITIALISERS = {"__init__", "__new__", "__post_init__", "__set_name__", "__init_subclass__"}
_GENERATED = {  # methods that dataclasses write, all in one file named "<string>"
    "__init__", "__repr__", "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__setattr__", "__delattr__",
    "__new__",
}  # fmt: skip

Weight = int | str
"""ANY or SHARED; a name stands for SHARED if traced code writes that name after initialisation, else for ANY."""


@functools.lru_cache(maxsize=1024)
def _switch_points(code: types.CodeType) -> tuple[dict[int, Weight], frozenset[str]]:
    """Offset → weight for the instructions that the baton may pass before, and the names that `code` writes."""
    points: dict[int, Weight] = {}
    written = set()
    initialiser = code.co_name in _INITIALISERS
    prefix = None  # an EXTENDED_ARG belongs to the instruction after it
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name == "EXTENDED_ARG":
            prefix = instruction.offset if prefix is None else prefix
            continue
        offset = instruction.offset if prefix is None else prefix
        prefix = None
        if name in _WRITES:
            own_cell = name == "STORE_DEREF" and instruction.argval in code.co_cellvars
            points[offset] = instruction.argval if initialiser or own_cell else SHARED
            if not initialiser and not own_cell:
                written.add(instruction.argval)
        elif name in _READS:
            if not (name == "LOAD_GLOBAL" and instruction.arg & 1):  # a function about to be called
                points[offset] = SHARED if _is_method_load(instruction) else instruction.argval
        elif name in _CONTAINERS:
            points[offset] = SHARED
        elif "JUMP_BACKWARD" in name:
            points[offset] = ANY
    return points, frozenset(written)


def _is_method_load(instruction: dis.Instruction) -> bool:
    """From Python 3.12 on, LOAD_ATTR loads methods too; calling one may change the object."""
    return sys.version_info >= (3, 12) and instruction.opname == "LOAD_ATTR" and bool(instruction.arg & 1)


class Preemption:
    """Traces the code under test; a context manager around one run or a series of runs.

    `answers` are traced wherever their file is; `programs` and whatever else runs, unless it belongs to a library.
    Until Python 3.11 each thread has a trace function; from 3.12 on, one monitoring tool serves all threads.
    """

    def __init__(self, programs: Iterable[Any], answers: Iterable[Any]) -> None:
        codes = [code for answer in answers for code in _codes_of(answer)]
        self._answer_files = {code.co_filename for code in codes}
        self._points: dict[int, tuple[types.CodeType, dict[int, Weight] | None]] = {}
        self._untraced: set[int] = set()
        self._written: set[str] = set()
        self._known: list[types.CodeType] = []
        codes.extend(code for program in programs for code in _codes_of(program))
        for namespace in _namespaces_of((*programs, *answers)):
            codes.extend(code for code in _codes_of(namespace) if self._traced(code))
        while codes:  # what they write is known before they run, also what runs while nobody is traced
            code = codes.pop()
            if self.points(code) is not None:
                self._known.append(code)
            codes.extend(const for const in code.co_consts if isinstance(const, types.CodeType))

    def points(self, code: types.CodeType) -> dict[int, Weight] | None:
        """The switch points of `code`; None when it has none or is not traced."""
        known = self._points.get(id(code))
        if known is None:
            points = None
            if self._traced(code):
                points, written = _switch_points(code)
                self._written |= written
            known = self._points[id(code)] = (code, points or None)
        return known[1]

    def _traced(self, code: types.CodeType) -> bool:
        filename = code.co_filename
        if code.co_name == "<module>":
            return False  # an import runs under the interpreter's own locks
        if filename in self._answer_files:
            return filename != "<string>" or code.co_name not in _GENERATED
        return not is_library(filename) and (filename != "<string>" or code.co_name not in _GENERATED)

    if sys.version_info >= (3, 12):

        def __enter__(self) -> Preemption:
            monitoring = sys.monitoring
            self._tool = next((tool for tool in (4, 3, 5, 2, 1, 0) if monitoring.get_tool(tool) is None), None)
            if self._tool is None:
                raise RuntimeError("all six tools of sys.monitoring are taken: stop a profiler, debugger or coverage")
            self._instrumented: list[types.CodeType] = []
            monitoring.use_tool_id(self._tool, "shared.simulation")
            monitoring.register_callback(self._tool, monitoring.events.PY_START, self._on_start)
            monitoring.register_callback(self._tool, monitoring.events.INSTRUCTION, self._on_instruction)
            for code in self._known:  # an earlier series of runs may have switched off its PY_START for good
                self._watch(code)
            monitoring.set_events(self._tool, monitoring.events.PY_START)
            return self

        def __exit__(self, *_: object) -> None:
            monitoring = sys.monitoring
            monitoring.set_events(self._tool, 0)
            for code in self._instrumented:
                monitoring.set_local_events(self._tool, code, 0)
            for event in (monitoring.events.PY_START, monitoring.events.INSTRUCTION):
                monitoring.register_callback(self._tool, event, None)
            monitoring.free_tool_id(self._tool)
            self._points.clear()

        def instrument(self, me: ControlledThread) -> None:
            """Nothing to do for one thread: the tool watches code, not threads."""

        def _on_start(self, code: types.CodeType, offset: int) -> Any:
            if self.points(code) is not None:
                self._watch(code)
            return sys.monitoring.DISABLE

        def _watch(self, code: types.CodeType) -> None:
            self._instrumented.append(code)
            sys.monitoring.set_local_events(self._tool, code, sys.monitoring.events.INSTRUCTION)

        def _on_instruction(self, code: types.CodeType, offset: int) -> Any:
            points = self.points(code)
            if points is None or offset not in points:
                return sys.monitoring.DISABLE
            me = controlled.get(_get_ident())
            if me is not None:
                weight = points[offset]
                me.scheduler.switch_point(me, weight if weight.__class__ is int else weight in self._written)
            return None

    else:

        def __enter__(self) -> Preemption:
            return self

        def __exit__(self, *_: object) -> None:
            self._points.clear()
            self._untraced.clear()

        def instrument(self, me: ControlledThread) -> Callable[[bool], None]:
            """What switches the tracing of the current thread on and off, in the midst of its functions too."""
            switch_point = me.scheduler.switch_point
            local_traces: dict[int, Callable[..., Any]] = {}
            untraced = self._untraced
            written = self._written

            def local_trace(points: dict[int, Weight]) -> Callable[..., Any]:
                def trace(frame: types.FrameType, event: str, _: Any) -> Any:
                    if event == "opcode":
                        weight = points.get(frame.f_lasti)
                        if weight is not None:
                            switch_point(me, weight if weight.__class__ is int else weight in written)
                    return trace

                return trace

            def trace_call(frame: types.FrameType, event: str, _: Any) -> Any:
                code = frame.f_code
                known = id(code)
                if known in untraced:
                    return None
                trace = local_traces.get(known)
                if trace is None:
                    points = self.points(code)
                    if points is None:
                        untraced.add(known)
                        return None
                    trace = local_traces[known] = local_trace(points)
                frame.f_trace_opcodes = True
                frame.f_trace_lines = False
                return trace

            def turn(on: bool) -> None:
                if not on:
                    _settrace(None)
                    return
                frame: types.FrameType | None = _getframe(1)
                while frame is not None:
                    # Also where it is set: a generator keeps that of the thread which ran it before.
                    if (trace := trace_call(frame, "call", None)) is not None:
                        frame.f_trace = trace
                    frame = frame.f_back
                _settrace(trace_call)

            return turn


def _namespaces_of(answers: Iterable[Any]) -> Iterable[dict[str, Any]]:
    """The modules or notebooks in which functions, or the methods of classes and instances, are written."""
    found: dict[int, dict[str, Any]] = {}
    for answer in answers:
        answer = getattr(answer, "__func__", answer)
        owner = answer if isinstance(answer, type) else type(answer)
        functions = [answer] if isinstance(answer, types.FunctionType) else vars(owner).values()
        for function in functions:
            if isinstance(function, types.FunctionType):
                found[id(function.__globals__)] = function.__globals__
    return found.values()


def _codes_of(answer: Any) -> Iterable[types.CodeType]:
    """The code objects of a function, of a class's methods, or of what a namespace defines."""
    answer = getattr(answer, "__func__", answer)
    if isinstance(answer, types.FunctionType):
        yield answer.__code__
    elif isinstance(answer, type):
        for value in vars(answer).values():
            function = getattr(value, "__func__", getattr(value, "fget", value))
            if isinstance(function, types.FunctionType):
                yield function.__code__
    elif isinstance(answer, dict):
        for value in list(answer.values()):
            # By the type alone: a learner's object may answer to any attribute.
            if issubclass(type(value), types.FunctionType | types.MethodType):
                defined_here = value.__globals__ is answer
            else:
                defined_here = issubclass(type(value), type) and value.__module__ == answer.get("__name__")
            if defined_here:
                yield from _codes_of(value)
    elif not isinstance(answer, types.ModuleType):
        yield from _codes_of(type(answer))
