"""Replaces locks, thread start and time for the length of a run, wherever a module or an answer refers to them.

Invariant: every replacement asks which thread calls it and behaves like the original in a thread that is not
controlled; after the run every reference is the original again.
"""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures.thread
import functools
import itertools
import logging
import math
import queue
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from shared.simulation.aio import VirtualLoop
from shared.simulation.locks import CooperativeLock, InternalLock, Lock, RLock, ThreadHandle
from shared.simulation.scheduler import ControlledThread, Unwind, controlled
from shared.simulation.wording import is_library, speak_of

_get_ident = _thread.get_ident
_EPOCH_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z: what `time.time()` reads at virtual instant 0
_MISSING = object()


# ---- time


def _clock(real: Callable[[], Any], read: Callable[[int], Any]) -> Callable[[], Any]:
    @functools.wraps(real)
    def clock() -> Any:
        me = controlled.get(_get_ident())
        if me is None:
            return real()
        me.scheduler.spin(me)
        return read(me.scheduler.now_ns)

    return clock


def _sleep(seconds: float, /, _real: Callable[[float], None] = time.sleep) -> None:
    me = controlled.get(_get_ident())
    if me is None:
        return _real(seconds)
    if not seconds >= 0:
        raise ValueError("sleep length must be non-negative")
    if seconds == 0:
        me.scheduler.give_way(me)
    else:
        me.scheduler.block(me, None, me.scheduler.deadline(seconds) if seconds < math.inf else None)
    return None


# ---- threads


def _start_thread(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> int:
    me = controlled.get(_get_ident())
    if me is None:
        return _ORIGINALS["start_new_thread"](function, args, kwargs or {})
    return _spawn(me, functools.partial(function, *args, **kwargs or {}), function).ident


def _start_joinable_thread(function: Callable[[], Any], handle: Any = None, daemon: bool = True) -> Any:
    me = controlled.get(_get_ident())
    if me is None:
        return _ORIGINALS["start_joinable_thread"](function, handle=handle, daemon=daemon)
    if not isinstance(handle, ThreadHandle):  # the Thread object was made outside the run
        handle = ThreadHandle()
        if isinstance(thread := getattr(function, "__self__", None), threading.Thread):
            thread._handle = handle  # type: ignore[attr-defined]
    handle.begin(_spawn(me, function, function))
    return handle


def _spawn(me: ControlledThread, call: Callable[[], Any], function: Callable[..., Any]) -> ControlledThread:
    thread = getattr(function, "__self__", None)
    if isinstance(thread, threading.Thread) and function.__name__ == "_bootstrap":
        return me.scheduler.spawn(call, thread, thread.name)
    return me.scheduler.spawn(call)


def _set_sentinel() -> Any:
    """Until Python 3.12, the lock that `Thread.join` waits for; the interpreter releases it as the thread ends."""
    me = controlled.get(_get_ident())
    if me is None:
        return _ORIGINALS["_set_sentinel"]()
    lock = InternalLock()

    def end() -> None:
        if lock.locked():
            lock.release()
        threading._shutdown_locks.discard(lock)  # type: ignore[attr-defined]

    me.on_exit = end
    return lock


def _numbering(real: Callable[[], int], pick: Callable[[Any], Callable[[], int]]) -> Callable[[], int]:
    """Default names count from the start of the run, so that they are the same in every run."""

    def number() -> int:
        me = controlled.get(_get_ident())
        return real() if me is None else pick(me.scheduler)()

    return number


# ---- other


class _SimpleQueue:
    """Stands for `queue.SimpleQueue`, whose C code would block the baton's holder."""

    def __new__(cls) -> Any:
        return queue._PySimpleQueue() if _get_ident() in controlled else _ORIGINALS["SimpleQueue"]()  # type: ignore[attr-defined]


class _InsertionOrderedSet(dict[Any, None]):
    """A set that iterates in order of insertion: address order would differ between a run and its replay."""

    def add(self, item: Any) -> None:
        self[item] = None


def _executor_set() -> Any:
    return _InsertionOrderedSet() if _get_ident() in controlled else set()


class _WorkerLog:
    """Stands for the logger of `concurrent.futures`: that a worker was unwound at the end of a run is no error."""

    def __init__(self, real: logging.Logger) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def critical(self, message: str, *args: Any, **options: Any) -> None:
        if not isinstance(sys.exc_info()[1], Unwind):
            self._real.critical(message, *args, **options)


def _loop_maker(real: Callable[[Any], asyncio.AbstractEventLoop]) -> Callable[[Any], asyncio.AbstractEventLoop]:
    @functools.wraps(real)
    def new_event_loop(policy: Any) -> asyncio.AbstractEventLoop:
        return VirtualLoop() if _get_ident() in controlled else real(policy)

    return new_event_loop


def _outside(real: Callable[..., Any]) -> Callable[..., Any]:
    """Run a function as an uncontrolled thread would: it waits for threads that are outside the run."""

    @functools.wraps(real)
    def call(*args: Any, **kwargs: Any) -> Any:
        me = controlled.pop(_get_ident(), None)
        try:
            return real(*args, **kwargs)
        finally:
            if me is not None:
                controlled[me.ident] = me

    return call


# ---- what is replaced by what

_OF_THIS_VERSION = ("_set_sentinel", "start_joinable_thread", "_ThreadHandle")  # the first until 3.12, then the others

_ORIGINALS: dict[str, Any] = {
    name: getattr(module, name)
    for module, names in {
        _thread: ("allocate_lock", "RLock", "start_new_thread", *_OF_THIS_VERSION),
        queue: ("SimpleQueue",),
    }.items()
    for name in names
    if hasattr(module, name)
}

_REPLACEMENTS: dict[int, Any] = {
    id(time.monotonic): _clock(time.monotonic, lambda now: now / 1e9),
    id(time.perf_counter): _clock(time.perf_counter, lambda now: now / 1e9),
    id(time.time): _clock(time.time, lambda now: (now + _EPOCH_NS) / 1e9),
    id(time.monotonic_ns): _clock(time.monotonic_ns, lambda now: now),
    id(time.perf_counter_ns): _clock(time.perf_counter_ns, lambda now: now),
    id(time.time_ns): _clock(time.time_ns, lambda now: now + _EPOCH_NS),
    id(time.sleep): functools.wraps(time.sleep)(_sleep),
    id(threading.Lock): Lock,
    id(_thread.allocate_lock): Lock,
    id(_thread.RLock): RLock,
    id(queue.SimpleQueue): _SimpleQueue,
    id(_thread.start_new_thread): _start_thread,
}
if "start_joinable_thread" in _ORIGINALS:
    _REPLACEMENTS[id(_thread.start_joinable_thread)] = _start_joinable_thread  # type: ignore[attr-defined]
    _REPLACEMENTS[id(_thread._ThreadHandle)] = ThreadHandle
if "_set_sentinel" in _ORIGINALS:
    _REPLACEMENTS[id(_thread._set_sentinel)] = _set_sentinel  # type: ignore[attr-defined]

_ORIGINAL_OF = {
    id(replacement): original
    for original in (
        *(getattr(time, name) for name in ("monotonic", "perf_counter", "time", "sleep")),
        *(getattr(time, f"{name}_ns") for name in ("monotonic", "perf_counter", "time")),
        *_ORIGINALS.values(),
        threading.Lock,
    )
    if (replacement := _REPLACEMENTS.get(id(original))) is not None
}

speak_of(_sleep.__code__, "time.sleep")

_REAL_LOCK = type(_thread.allocate_lock())
_REAL_RLOCK = type(_thread.RLock())
_LOOP_POLICY = asyncio.events.BaseDefaultEventLoopPolicy  # type: ignore[attr-defined]
_EXECUTOR = concurrent.futures.thread.ThreadPoolExecutor


class Patches:
    """The replaced references of one run or of one series of runs; a context manager, used by one thread at a time.

    `searched` are gone into deeply: their namespaces, defaults, closures, class attributes, and locks that were made
    before the run.
    """

    def __init__(self, searched: Iterable[Any]) -> None:
        self._searched = tuple(searched)
        self._undo: list[Callable[[], None]] = []
        self._adopted: dict[int, tuple[Any, CooperativeLock]] = {}
        self._seen: dict[int, Any] = {}

    def __enter__(self) -> Patches:
        try:
            self._replace_everywhere()
            for thing in self._searched:
                self._visit(thing)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        self._seen.clear()
        self._adopted.clear()
        _restore_new_modules()

    # -- modules

    def _replace_everywhere(self) -> None:
        for namespace, key in _module_references():
            self._swap(namespace, key, _REPLACEMENTS.get(id(namespace.get(key)), _MISSING))
        threads, pools = vars(threading), vars(concurrent.futures.thread)
        for namespace, key in ((threads, "_allocate_lock"), (vars(_thread), "allocate_lock")):
            self._swap(namespace, key, InternalLock)
        self._swap(threads, "_counter", _numbering(threads["_counter"], lambda scheduler: scheduler.next_thread_number))
        self._swap(pools, "set", _executor_set)
        self._swap(pools, "_global_shutdown_lock", self._adopt(pools["_global_shutdown_lock"], "shutdown"))
        pool_number = _numbering(_EXECUTOR._counter, lambda scheduler: scheduler.next_pool_number)
        self._swap_attribute(_EXECUTOR, "_counter", staticmethod(pool_number))
        futures = vars(concurrent.futures._base)
        self._swap(futures, "LOGGER", _WorkerLog(futures["LOGGER"]))
        if isinstance(logging._lock, _REAL_RLOCK):
            self._swap(vars(logging), "_lock", self._adopt(logging._lock, "logging._lock"))
        for reference in list(logging._handlerList):  # type: ignore[attr-defined]
            handler = reference()
            if handler is not None and isinstance(handler.lock, _REAL_RLOCK):
                self._swap(vars(handler), "lock", self._adopt(handler.lock, "handler.lock"))
        new_loop = vars(_LOOP_POLICY)["new_event_loop"]
        self._swap_attribute(_LOOP_POLICY, "new_event_loop", _loop_maker(new_loop))
        iostream = sys.modules.get("ipykernel.iostream")
        if iostream is not None:  # a notebook's stdout waits for the kernel's own thread
            for name in ("flush", "write"):
                self._swap_attribute(iostream.OutStream, name, _outside(vars(iostream.OutStream)[name]))

    # -- answers

    def _visit(self, thing: Any) -> None:
        """Swap what `thing` refers to, and go on to what it is made of."""
        if isinstance(thing, functools.partial):
            self._visit_partial(thing)
            return
        if isinstance(thing, types.MethodType):
            self._visit(thing.__self__)
            thing = thing.__func__
        if id(thing) in self._seen:
            return
        if isinstance(thing, types.FunctionType):
            self._seen[id(thing)] = thing
            self._visit_function(thing)
        elif isinstance(thing, type):
            self._seen[id(thing)] = thing
            self._visit_class(thing)
        elif type(thing) is dict:
            self._visit_namespace(thing)
        else:
            self._visit_instance(thing)

    def _visit_partial(self, partial: functools.partial[Any]) -> None:
        if id(partial) in self._seen:
            return
        self._seen[id(partial)] = partial
        state = partial.func, partial.args, partial.keywords, vars(partial)
        for part in (partial.func, *partial.args, *partial.keywords.values()):
            self._visit_captured(part)
        args = tuple(self._replacement(value, "") for value in partial.args)
        keywords = {name: self._replacement(value, name) for name, value in partial.keywords.items()}
        partial.__setstate__((self._replacement(partial.func, ""), args, keywords, vars(partial)))
        self._undo.append(lambda: partial.__setstate__(state))

    def _visit_function(self, function: types.FunctionType) -> None:
        self._visit_namespace(function.__globals__)
        if function.__defaults__ and any(map(self._has_replacement, function.__defaults__)):
            defaults = tuple(self._replacement(value, "") for value in function.__defaults__)
            self._swap_attribute(function, "__defaults__", defaults)
        if function.__kwdefaults__:
            for key, value in function.__kwdefaults__.items():
                self._swap(function.__kwdefaults__, key, self._replacement(value, key))
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            if self._has_replacement(value):
                self._swap_attribute(cell, "cell_contents", self._replacement(value, name))
            else:
                self._visit_captured(value)
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            self._visit_captured(wrapped)

    def _visit_class(self, cls: type) -> None:
        if is_library(_file_of(cls)):
            return
        for base in cls.__bases__:
            self._visit_captured(base)
        for name, value in list(vars(cls).items()):
            if self._has_replacement(value):
                self._swap_attribute(cls, name, self._replacement(value, f"{cls.__name__}.{name}"))
            elif isinstance(value, functools.cached_property):
                if isinstance(getattr(value, "lock", None), _REAL_RLOCK):  # until Python 3.11
                    self._swap(vars(value), "lock", self._adopt(value.lock, f"{cls.__name__}.{name}"))
                self._visit_captured(value.func)
            elif isinstance(value, (staticmethod, classmethod)):
                self._visit_captured(value.__func__)
            elif isinstance(value, property):
                for part in (value.fget, value.fset, value.fdel):
                    self._visit_captured(part)
            else:
                self._visit_captured(value)

    def _visit_namespace(self, namespace: dict[str, Any]) -> None:
        if id(namespace) in self._seen:
            return
        self._seen[id(namespace)] = namespace
        module = namespace.get("__name__")
        for name, value in list(namespace.items()):
            if self._has_replacement(value):
                self._swap(namespace, name, self._replacement(value, name))
            elif isinstance(value, types.FunctionType):
                if value.__globals__ is namespace:
                    self._visit(value)
            elif isinstance(value, type):
                if value.__module__ == module:
                    self._visit(value)
            else:
                self._visit_captured(value)

    def _visit_captured(self, value: Any) -> None:
        """Go on only to functions, and to classes and objects of the code under test or of `threading` and `queue`."""
        if isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
            self._visit(value)
        elif isinstance(value, type):
            if not is_library(_file_of(value)):
                self._visit(value)
        elif _is_searched(type(value)) and id(value) not in self._seen:
            self._visit_instance(value)

    def _visit_instance(self, thing: Any) -> None:
        if id(thing) in self._seen or not _is_searched(type(thing)):
            return
        self._seen[id(thing)] = thing
        if not is_library(_file_of(type(thing))):
            self._visit(type(thing))
        prefix = type(thing).__name__
        fields = getattr(thing, "__dict__", None)
        for name, value in list(fields.items()) if isinstance(fields, dict) else ():
            if self._has_replacement(value):
                self._swap(fields, name, self._replacement(value, f"{prefix}.{name}"))
            else:
                self._visit_captured(value)
        for name in _slots_of(type(thing)):
            value = getattr(thing, name, None)
            if self._has_replacement(value):
                self._swap_attribute(thing, name, self._replacement(value, f"{prefix}.{name}"))
            else:
                self._visit_captured(value)

    # -- swapping

    def _has_replacement(self, value: Any) -> bool:
        kind = type(value)
        if kind is types.BuiltinMethodType:
            return id(value) in _REPLACEMENTS or type(value.__self__) in (_REAL_LOCK, _REAL_RLOCK)
        return kind is _REAL_LOCK or kind is _REAL_RLOCK or id(value) in _REPLACEMENTS

    def _replacement(self, value: Any, name: str) -> Any:
        """The controlled counterpart: of an original, of a lock made before the run, or of such a lock's method."""
        if id(value) in _REPLACEMENTS:
            return _REPLACEMENTS[id(value)]
        if type(value) in (_REAL_LOCK, _REAL_RLOCK):
            return self._adopt(value, name)
        if type(value) is types.BuiltinMethodType and type(value.__self__) in (_REAL_LOCK, _REAL_RLOCK):
            return getattr(self._adopt(value.__self__, name), value.__name__, value)
        return value

    def _adopt(self, real: Any, name: str) -> CooperativeLock:
        """The one controlled lock that wraps `real` during this run."""
        if id(real) not in self._adopted:
            kind = Lock if type(real) is _REAL_LOCK else RLock
            self._adopted[id(real)] = (real, kind(real, name))
        return self._adopted[id(real)][1]

    def _swap(self, namespace: dict[str, Any], key: str, value: Any) -> None:
        old = namespace.get(key, _MISSING)
        if value is _MISSING or value is old:
            return
        namespace[key] = value

        def undo() -> None:
            if namespace.get(key) is value:  # unless the program has put something else there
                if old is _MISSING:
                    del namespace[key]
                else:
                    namespace[key] = old

        self._undo.append(undo)

    def _swap_attribute(self, owner: Any, name: str, value: Any) -> None:
        is_class = isinstance(owner, type)
        assign = type.__setattr__ if is_class else object.__setattr__  # a frozen dataclass refuses the plain one
        old = vars(owner)[name] if is_class else getattr(owner, name)
        assign(owner, name, value)

        def undo() -> None:
            now = vars(owner).get(name) if is_class else getattr(owner, name, None)
            if now is value:
                assign(owner, name, old)

        self._undo.append(undo)


# ---- where modules refer to the originals

_Reference = tuple[dict[str, Any], str]

_searched_modules: dict[str, Any] = {}
_references: dict[str, list[_Reference]] = {}


def _module_references() -> Iterator[_Reference]:
    """Every (namespace, name) of an imported module that refers to an original; only new modules are searched."""
    for name, module in _new_modules():
        _references.pop(name, None)
        if found := list(_references_of(name, module, _REPLACEMENTS)):
            _references[name] = found
    if _searched_modules != sys.modules:
        for name in _references.keys() - sys.modules.keys():
            del _references[name]
        _searched_modules.clear()
        _searched_modules.update(sys.modules)
    return itertools.chain.from_iterable(_references.values())


def _restore_new_modules() -> None:
    """Modules that were imported during the run hold replacements: give them the originals."""
    for name, module in _new_modules():
        for namespace, key in list(_references_of(name, module, _ORIGINAL_OF)):
            namespace[key] = _ORIGINAL_OF[id(namespace[key])]


def _new_modules() -> list[tuple[str, Any]]:
    if _searched_modules == sys.modules:
        return []
    return [(name, module) for name, module in list(sys.modules.items()) if _searched_modules.get(name) is not module]


def _references_of(name: str, module: Any, table: dict[int, Any]) -> Iterator[_Reference]:
    if not isinstance(module, types.ModuleType) or name.startswith("shared.simulation") or name == "__main__":
        return
    namespace = types.ModuleType.__getattribute__(module, "__dict__")  # does not wake a lazy module
    for key, value in list(namespace.items()):
        if id(value) in table:
            yield namespace, key


@functools.lru_cache(maxsize=4096)
def _is_searched(cls: type) -> bool:
    return cls.__module__ in ("threading", "queue") or not is_library(_file_of(cls))


@functools.lru_cache(maxsize=4096)
def _file_of(cls: type) -> str:
    """The file that defines a class; the built-in ones count as libraries."""
    if cls.__module__ in ("builtins", "_thread"):
        return "<frozen>"
    functions = (getattr(value, "__func__", value) for value in vars(cls).values())
    files = [each.__code__.co_filename for each in functions if isinstance(each, types.FunctionType)]
    files = [file for file in files if file != "<string>"]
    if files:  # a named tuple has methods of the library's, and perhaps of its own
        return next((file for file in files if not is_library(file)), files[0])
    module = sys.modules.get(cls.__module__)
    return getattr(module, "__file__", None) or ("<frozen>" if cls.__module__ in sys.builtin_module_names else "")


def _slots_of(cls: type) -> Iterator[str]:
    for base in cls.__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__weakref__", "__dict__"):
                private = name.startswith("__") and not name.endswith("__")
                yield f"_{base.__name__.lstrip('_')}{name}" if private else name


def forget_executor_threads(threads: Iterable[threading.Thread | None]) -> None:
    """Take the run's threads off the list that the interpreter joins at exit."""
    for thread in threads:
        if thread is not None:
            concurrent.futures.thread._threads_queues.pop(thread, None)  # type: ignore[attr-defined]
