"""The still figures of exercise 17.1.5: the hang, the playground's story, dumps as graphs, schedules counted.

Each is drawn from recorded text, from arithmetic or from controlled runs, so the same bytes come out of every run.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from shared.observability import deadlock
from shared.observability.recorded_dumps import LOCKS
from shared.palette import COLOURS, PAPER
from shared.simulation import run, strategies
from shared.widgets.deadlock_graph import Graph, draw_graph, graph_of
from shared.widgets.deadlock_stepper import CACHE, PROGRAMS, TABLE, Stepper
from shared.widgets.style import Picture, course_style, picture_of
from shared.widgets.unwritten import needs

__all__ = [
    "compare_with_reference",
    "deadlock_storyboard",
    "explored_schedules",
    "incident_figure",
    "recorded_graph",
    "stepper_picture",
]

_FAINT = PAPER["light"]["faint"]
_SECONDS, _HANGS_AT = 60, 20
_WORKERS, _PER_SECOND, _WORK = 16, 40, 0.05


@functools.cache
def incident_figure() -> Picture:
    """The incident in three lines: requests served, workers that wait, CPU."""
    import matplotlib.pyplot as plt

    instants = range(_SECONDS + 1)
    served = [_PER_SECOND if second < _HANGS_AT else 0 for second in instants]
    stuck = [0 if second < _HANGS_AT else min(_WORKERS, _PER_SECOND * (second - _HANGS_AT)) for second in instants]
    cpu = [100 * _PER_SECOND * _WORK / 4 if second < _HANGS_AT else 0 for second in instants]
    with course_style():
        figure, panels = plt.subplots(1, 3, sharex=True, figsize=(8.6, 2.4))
        for axes, title, values, colour, top in zip(
            panels,
            ("Requests served /s", f"Workers that wait, of {_WORKERS}", "CPU, %"),
            (served, stuck, cpu),
            ("accepted", "failed", "note"),
            (50, _WORKERS * 1.2, 100),
            strict=True,
        ):
            axes.step(instants, values, where="post", color=COLOURS[colour])
            axes.fill_between(instants, values, step="post", color=COLOURS[colour], alpha=0.25, linewidth=0)
            axes.axvline(_HANGS_AT, color=_FAINT, linewidth=1.0, linestyle=(0, (4, 3)))
            axes.set(title=title, xlabel="time (s)", ylim=(0, top), xlim=(0, _SECONDS))
        return picture_of(
            figure,
            f"A shop with {_WORKERS} workers and {_PER_SECOND} requests a second. At {_HANGS_AT} s it stops serving, "
            f"within a second all {_WORKERS} workers wait, and the CPU falls to 0 %. Nothing is logged.",
        )


@functools.cache
def deadlock_storyboard() -> Picture:
    """The playground as a figure: four steps of two threads into a deadlock."""
    import matplotlib.pyplot as plt

    stepper = Stepper(PROGRAMS["opposite order"])
    shown: list[tuple[str, Graph]] = []
    for thread in ("get", "update", "update", "get", "update"):
        said = stepper.step(thread)
        if "write" not in said:
            shown.append((said, _graph(stepper)))
    with course_style():
        figure, panels = plt.subplots(2, 2, figsize=(8.6, 4.6))
        for number, (axes, (said, graph)) in enumerate(zip(panels.flat, shown, strict=True), 1):
            draw_graph(axes, graph, f"{number}. {_shorter(said)}")
        return picture_of(
            figure,
            "Four steps. get takes the cache's lock, update the table's. Then get waits for the table's lock, and "
            "update for the cache's: the ring of arrows is closed.",
        )


def _shorter(words: str) -> str:
    return words.split(",")[0].split(". CPU")[0].removesuffix(".").replace("acquire ", "takes ")


def stepper_picture(stepper: Stepper) -> Picture:
    """The wait-for graph of a run that is being stepped."""
    import matplotlib.pyplot as plt

    with course_style():
        figure, axes = plt.subplots(figsize=(4.6, 2.9))
        draw_graph(axes, _graph(stepper), "Deadlock" if stepper.deadlocked else "")
        waits = "; ".join(f"{thread} waits for {lock}" for thread, lock in stepper.waits_for.items())
        holds = "; ".join(f"{thread} holds {lock}" for lock, thread in stepper.holder.items())
        closed = "The cycle is closed. " if stepper.deadlocked else ""
        return picture_of(figure, f"{closed}{holds or 'No lock is held'}. {waits or 'Nobody waits'}.")


def _graph(stepper: Stepper) -> Graph:
    return Graph(
        threads={
            thread: "ended" if stepper.ended(thread) else "idle" if not stepper.can_step(thread) else "active"
            for thread in stepper.program
        },
        waits_for=dict(stepper.waits_for),
        holder=dict(stepper.holder),
        cycle=stepper.cycle,
        labels={CACHE: CACHE, TABLE: TABLE},
        order=("get", TABLE, "update", CACHE),
    )


@functools.cache
def recorded_graph() -> Picture:
    """The recorded dump of the hung shop as a wait-for graph."""
    import matplotlib.pyplot as plt

    threads, cycle = deadlock.read_dump(LOCKS), deadlock.find_deadlock(LOCKS)
    with course_style():
        figure, axes = plt.subplots(figsize=(6.4, 3.4))
        draw_graph(axes, graph_of(threads, cycle))
        return picture_of(
            figure,
            f"The wait-for graph of the dump. In the cycle: {' and '.join(cycle)}, each waits for a lock that the "
            "other holds. Thread-3 (serve) waits for one of these locks from outside.",
        )


_SLOW = """\
Thread 0x0000000000000001 (idle): "http-1"
    - waiting to lock <0x10> (Cache.lock)
Thread 0x0000000000000002 (idle): "http-2"
    - waiting to lock <0x20> (DB.lock)
    - locked <0x10> (Cache.lock)
Thread 0x0000000000000003 (active): "report"
    - locked <0x20> (DB.lock)
"""
_THREE = """\
Thread 0x0000000000000001 (idle): "mail"
    - waiting to lock <0x10> (Cache.lock)
Thread 0x0000000000000002 (idle): "get"
    - waiting to lock <0x20> (DB.lock)
    - locked <0x10> (Cache.lock)
Thread 0x0000000000000003 (idle): "update"
    - waiting to lock <0x30> (Log.lock)
    - locked <0x20> (DB.lock)
Thread 0x0000000000000004 (idle): "audit"
    - waiting to lock <0x10> (Cache.lock)
    - locked <0x30> (Log.lock)
"""
_DUMPS = {"the hung shop": LOCKS, "a ring of three": _THREE, "only slow": _SLOW}


def compare_with_reference(find_deadlock: Callable[[str], list[str]]) -> Picture:
    """What your `find_deadlock` finds in three dumps, above what the reference finds. Red is the cycle.

    Raises what the answer raises.
    """
    import matplotlib.pyplot as plt

    rows = [("Yours", find_deadlock), ("Reference", deadlock.find_deadlock)]
    differing = []
    with course_style():
        figure, grid = plt.subplots(2, len(_DUMPS), figsize=(8.6, 4.6))
        for column, (title, dump) in enumerate(_DUMPS.items()):
            found = [list(find(dump) or ()) for _, find in rows]
            if not _same_cycle(*found):
                differing.append(title)
            for axes, (who, _), cycle in zip(grid[:, column], rows, found, strict=True):
                draw_graph(axes, graph_of(deadlock.read_dump(dump), cycle), f"{who}: {title}", small=True)
        verdict = f"They differ on {'; '.join(differing)}." if differing else "They agree."
        return picture_of(figure, f"Three dumps as wait-for graphs, your cycle above the reference's. {verdict}")


def _same_cycle(one: Sequence[str], other: Sequence[str]) -> bool:
    return len(one) == len(other) and any(
        list(one) == [*other[turn:], *other[:turn]] for turn in range(max(1, len(other)))
    )


class _HungDB:
    def __init__(self, rows: dict[str, int]) -> None:
        self.rows, self.lock = rows, threading.Lock()
        self.cache: Any = None

    def query(self, key: str) -> int | None:
        with self.lock:
            return self.rows.get(key)

    def update(self, key: str, value: int) -> None:
        with self.lock:
            self.rows[key] = value
            self.cache.set(key, value)


class _HungCache:
    def __init__(self, db: _HungDB) -> None:
        self.db, self.lock = db, threading.Lock()
        self.entries: dict[str, int | None] = {}
        db.cache = self

    def get(self, key: str) -> int | None:
        with self.lock:
            if key not in self.entries:
                self.entries[key] = self.db.query(key)
            return self.entries[key]

    def set(self, key: str, value: int) -> None:
        with self.lock:
            self.entries[key] = value


_ENDINGS = {"fresh": "accepted", "old value stays": "slow", "deadlock": "failed"}


def explored_schedules(cache: Any, db: Any, schedules: int = 100) -> Picture:
    """How one get beside one update ends under many schedules: the hung pair, yours, the reference.

    Raises NotImplementedError where the answer does.
    """
    import matplotlib.pyplot as plt

    pairs = {"hung": (_HungCache, _HungDB), "yours": (cache, db), "reference": (deadlock.Cache, deadlock.DB)}
    with needs("This part"):
        counts = {name: _endings_of(*pair, schedules) for name, pair in pairs.items()}
    with course_style():
        figure, axes = plt.subplots(figsize=(8.6, 1.9))
        left = dict.fromkeys(counts, 0)
        for ending, colour in _ENDINGS.items():
            for name, count in counts.items():
                axes.barh(
                    name,
                    count[ending],
                    left=left[name],
                    color=COLOURS[colour],
                    height=0.6,
                    label=ending if name == "hung" else None,
                )
                left[name] += count[ending]
        axes.set(xlabel=f"schedules, of {schedules}", xlim=(0, schedules))
        axes.invert_yaxis()
        axes.grid(visible=False)
        figure.legend(loc="outside upper center", ncols=3, fontsize=8.5)
        told = "; ".join(
            f"{name}: " + ", ".join(f"{count[ending]} {ending}" for ending in _ENDINGS if count[ending])
            for name, count in counts.items()
        )
        return picture_of(figure, f"One get beside one update under {schedules} schedules. {told}.")


class _SlowRows(dict[str, int]):
    """A read has its value at once and hands it over a second later."""

    def get(self, key: str, default: Any = None) -> Any:
        value = super().get(key, default)
        time.sleep(1.0)
        return value

    def __getitem__(self, key: str) -> int:
        value = super().__getitem__(key)
        time.sleep(1.0)
        return value


def _endings_of(cache_type: Any, db_type: Any, schedules: int) -> Counter[str]:
    def program() -> str:
        db = db_type(_SlowRows({"price": 10}))
        cache = cache_type(db)
        threads = [
            threading.Thread(target=cache.get, args=("price",), name="get"),
            threading.Thread(target=db.update, args=("price", 12), name="update"),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return "fresh" if cache.get("price") == 12 else "old value stays"

    counts: Counter[str] = Counter()
    for strategy in strategies(1, schedules):
        outcome = run(program, strategy=strategy, answer=(cache_type, db_type))
        if outcome.failure is not None and outcome.failure.error is not None:
            raise outcome.failure.error
        counts["deadlock" if outcome.failure else outcome.value] += 1
    return counts
