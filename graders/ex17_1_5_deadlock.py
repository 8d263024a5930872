"""The checks of 17.1.5: a diagnosis read from a dump, and a cache and a database that stay live and fresh.

Invariant: a judge derives what is right from the scenario alone. For a dump that is the one cycle among the threads
that the scenario lists; for calls it is the set of values that a `get` may see, given which calls had returned before
it began and which overlapped it. `began` and `ended` number the ends of all calls of a run in their true order, so
that nothing depends on instants that tie.

A dump scenario lists locks `[address, label]` and threads that name them by position. A calls scenario has the rows,
what is called before, by threads side by side, and after they have all ended.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, MutableMapping
from typing import Any

from hypothesis import strategies as st

from graders.kit import Check, Event, History, Mismatch, World

REFERENCE = "shared.observability.deadlock"

_EDGES = "Hint 1: two questions per thread"
_LINES = "Hint 2: reading the dump"
_LOCKS = "Hint 3: who may hold what"
_FRESH = "Hint 4: the late fill"

Thread = dict[str, Any]
Step = list[Any]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# Dumps


_PLAIN = ("writer", "http-8", "MainThread", "Thread-1", "poller", "http-7", "flusher", "mailer", "audit", "Thread-2")
_ODD = (
    "Thread-3 (serve)",
    "pool (idle) 2",
    "request 17 (get /cart)",
    "billing (eu) (west)",
    "reader (active)",
    "Thread-3 (serve) 2",
    "nightly report",
    "Thread 0 (idle)",
    "waiting room",
    "locked box (old)",
)
_BUSY = ("active", "active+gil")


_LABELS = ("Cache.lock", "DB.lock", "Session.lock", "Index.lock", "Log.lock", "Queue.mutex", "Pool.lock", "Mail.lock",
           "Cart.lock", "Rate.lock", "Tax.lock", "Job.lock")  # fmt: skip


def _locks(number: int, labels: tuple[str, ...] = ()) -> list[list[str]]:
    names = labels or _LABELS
    return [[f"{0x7F1C8A2B10 + 0x130 * each:#x}", names[each % len(names)]] for each in range(number)]


def _thread(state: str, waits: int | None = None, holds: tuple[int, ...] = (), more: tuple[str, ...] = ()) -> Thread:
    return {"name": "", "state": state, "waits": waits, "holds": list(holds), "more": list(more)}


def _dump(
    threads: list[Thread], locks: list[list[str]], order: int = 0, names: tuple[str, ...] = _PLAIN
) -> dict[str, Any]:
    """The threads, named, in an order of their own; order 0 leaves them as they are."""
    named = [{**thread, "name": names[each]} for each, thread in enumerate(threads)]
    if order:
        random.Random(order).shuffle(named)
    return {"locks": locks, "threads": named}


def _ring(size: int, states: tuple[str, ...] = (), first: int = 0) -> list[Thread]:
    """Each holds its own lock and waits for the next one's; a state for each, idle if none is given."""
    return [
        _thread(states[each] if each < len(states) else "idle", first + (each + 1) % size, (first + each,))
        for each in range(size)
    ]


def _text(scenario: dict[str, Any]) -> str:
    """The dump as the course's handler prints it."""
    lines = ["Process 4242: Python 3.11.7", ""]
    for number, thread in enumerate(scenario["threads"]):
        lines.append(f'Thread 0x{0x7F1C8A3FE640 - 0x801000 * number:016X} ({thread["state"]}): "{thread["name"]}"')
        locked = [f"    - locked <{address}> ({label})" for address, label in _named(scenario, thread["holds"])]
        if thread["waits"] is None:
            top, waiting = ("recv (socket.py:706)" if thread["state"] == "idle" else "parse (feed.py:88)"), []
        else:
            address, label = scenario["locks"][thread["waits"]]
            top, waiting = "acquire (app.py:12)", [f"    - waiting to lock <{address}> ({label})"]
        lines += [f"    {top}", *waiting, *locked[:1], *thread["more"], "    serve (app.py:40)", *locked[1:]]
        lines += ["    run (threading.py:982)", "    _bootstrap (threading.py:1002)"]
    return "\n".join(lines) + "\n"


def _named(scenario: dict[str, Any], locks: list[int]) -> list[list[str]]:
    return [scenario["locks"][lock] for lock in locks]


def _cycle(threads: list[Thread]) -> list[str]:
    """The one cycle among idle threads, each waiting for a lock that the next one holds; [] if there is none."""
    idle = [thread for thread in threads if thread["state"] == "idle"]
    holder = {lock: thread["name"] for thread in idle for lock in thread["holds"]}
    waits_for = {thread["name"]: holder.get(thread["waits"]) for thread in idle}
    for start in waits_for:
        path, here = [start], waits_for[start]
        while here is not None and here != start and len(path) < len(idle):
            path.append(here)
            here = waits_for[here]
        if here == start:
            return path
    return []


class _DumpCheck(Check):
    """Hands `find_deadlock` one dump. The record holds a line for each thread of it, and the call."""

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        for thread in scenario["threads"]:
            kind = "accepted" if thread["state"] != "idle" else "note" if thread["waits"] is None else "waiting"
            event = world.record(_line(scenario, thread), kind)
            event.update(who=thread["name"], thread=thread["name"])
        event = world.call("find_deadlock(dump)", answer, _text(scenario))
        event.update(who="find_deadlock", what="the dump is read")

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        threads = scenario["threads"]
        told = [event.get("thread") for event in history[:-1]]
        call = history[-1] if history else {}
        if told != [thread["name"] for thread in threads] or not {"outcome", "until"} <= call.keys():
            planned = f"a record of {_count(len(threads), 'thread')} and of one call with its outcome"
            raise Mismatch(expected=planned, observed=f"one of {_count(len(history), 'event')}")
        cycle, got = _cycle(threads), call.get("value")
        if call["outcome"] == "returned" and got in (_rotations(cycle) or [[]]):
            return
        expected = f"the cycle {_arrows(cycle)}, from any of its threads on" if cycle else "[], for there is no cycle"
        raise Mismatch(expected=expected, observed=_returned(call), at=len(history) - 1)

    def describe(self, scenario: dict[str, Any]) -> str:
        threads, cycle = scenario["threads"], _cycle(scenario["threads"])
        waiting = sum(thread["waits"] is not None for thread in threads)
        busy = sum(thread["state"] != "idle" for thread in threads)
        words = f"{_count(len(threads), 'thread')}, {waiting} with a lock to wait for"
        words += f", {busy} active" if busy else ""
        return f"{words}; {len(cycle)} of them in a cycle" if cycle else f"{words}; no cycle"


def _line(scenario: dict[str, Any], thread: Thread) -> str:
    """A thread and its locks, in one line for the card."""
    words = [thread["state"]]
    if thread["waits"] is not None:
        words += ["waits for <{}> ({})".format(*scenario["locks"][thread["waits"]])]
    words += ["holds <{}> ({})".format(*lock) for lock in _named(scenario, thread["holds"])]
    return ", ".join(words)


def _rotations(cycle: list[str]) -> list[list[str]]:
    return [cycle[turn:] + cycle[:turn] for turn in range(len(cycle))]


def _arrows(names: list[str]) -> str:
    return " → ".join([*names, *names[:1]])


def _returned(call: Event) -> str:
    if call["outcome"] == "raised":
        return f"it raised {call['error']}: {call['message']}"
    return f"it returned {call['value']!r}"


def _alone(size: int, order: int, more: str = "") -> dict[str, Any]:
    """A cycle and nobody else. `more`: each holds another lock, locked "before" or "after" the one that matters."""
    threads = _ring(size)
    for each, thread in enumerate(threads):
        if more:
            thread["holds"].insert(0 if more == "after" else 1, size + each)
    return _dump(threads, _locks(2 * size if more else size), order)


class FindsTheCycle(_DumpCheck):
    """Two to five threads in a cycle are found, and named once each, in wait-for order."""

    hint = _EDGES
    scenarios = st.builds(_alone, st.integers(2, 5), st.integers(0, 99), st.sampled_from(("", "before", "after")))
    examples = 12
    always = (
        *(_alone(size, 0) for size in (2, 3, 4, 5)),
        _alone(2, 0, "before"),
        _alone(2, 0, "after"),
        _alone(3, 1),
        _alone(4, 2),
        _alone(5, 3),
    )


def _slow(waiters: int, chain: int, holder: str, order: int) -> dict[str, Any]:
    """Threads queue at a lock, some behind each other; whoever holds it waits for no lock. `holder`: its state.

    A holder that is "gone" has no thread in the dump.
    """
    links = [_thread("idle", link, (link + 1,)) for link in range(chain)]
    queue = [_thread("idle", chain) for _ in range(waiters)]
    last = [] if holder == "gone" else [_thread(holder, None, (0,))]
    return _dump([*queue, *links, *last, _thread("idle")], _locks(chain + 1), order)


def _healthy(size: int, order: int) -> dict[str, Any]:
    """Nobody waits for a lock; some hold one."""
    threads = [_thread(("idle", *_BUSY)[each % 3], None, (each,) if each % 2 else ()) for each in range(size)]
    return _dump(threads, _locks(size), order)


class SlowIsNoDeadlock(_DumpCheck):
    """Without a cycle the list is empty: a healthy process, or one in which all wait for somebody who is slow."""

    hint = _EDGES
    scenarios = st.one_of(
        st.builds(_healthy, st.integers(1, 6), st.integers(0, 99)),
        st.builds(
            _slow, st.integers(0, 3), st.integers(0, 3), st.sampled_from(("idle", *_BUSY, "gone")), st.integers(0, 99)
        ),
    )
    examples = 12
    always = (
        _healthy(1, 0),
        _healthy(5, 0),
        _slow(1, 0, "active", 0),
        _slow(2, 0, "idle", 0),
        _slow(1, 2, "active+gil", 0),
        _slow(0, 3, "idle", 1),
        _slow(2, 1, "gone", 0),
    )


def _watched(outside: int, chained: bool, order: int) -> dict[str, Any]:
    """A cycle of two, and threads that wait for its locks or for each other's, and hold nothing that it needs."""
    ring, tails = 2, []
    for each in range(outside):
        own = ring + each
        target = own - 1 if chained and each else each % ring
        tails.append(_thread("idle", target, (own,)))
    return _dump([*tails, *_ring(ring), _thread("idle")], _locks(ring + outside), order)


class WaitersOutsideAreNotNamed(_DumpCheck):
    """A thread that waits for the cycle without being part of it is not in the list."""

    hint = _EDGES
    scenarios = st.builds(_watched, st.integers(1, 4), st.booleans(), st.integers(0, 99))
    examples = 12
    always = (_watched(1, False, 0), _watched(2, False, 0), _watched(2, True, 0), _watched(3, True, 1))


def _moving(ring: int, busy: int, state: str, real: bool, order: int) -> dict[str, Any]:
    """A ring in which one thread is not idle; beside it, perhaps, a real cycle."""
    states = tuple(state if each == busy % ring else "idle" for each in range(ring))
    threads = [*_ring(ring, states), *(_ring(2, first=ring) if real else [])]
    return _dump(threads, _locks(ring + 2), order)


class ActiveThreadsAreNotStuck(_DumpCheck):
    """Only idle threads can be in a deadlock: one that is active or active+gil goes on, and so do those behind it."""

    hint = _EDGES
    scenarios = st.builds(
        _moving, st.integers(2, 4), st.integers(0, 3), st.sampled_from(_BUSY), st.booleans(), st.integers(0, 99)
    )
    examples = 12
    always = (
        _moving(2, 0, "active", False, 0),
        _moving(2, 1, "active+gil", False, 0),
        _moving(3, 1, "active", False, 0),
        _moving(2, 0, "active", True, 0),
        _moving(2, 1, "active+gil", True, 0),
    )


def _same_labels(size: int, closed: bool, prefixes: bool, order: int) -> dict[str, Any]:
    """All locks have one label. Not closed: the last one waits for a lock of that label that nobody in the ring holds.

    `prefixes`: addresses of which one is the beginning of another.
    """
    locks = [["0x7f1c" + "8" * (each + 1), "lock"] for each in range(size + 1)]
    locks = locks if prefixes else _locks(size + 1, ("lock",))
    threads = _ring(size)
    if not closed:
        threads[-1]["waits"] = size
    return _dump([*threads, _thread("active", None, (size,))], locks, order)


class ALockIsItsAddress(_DumpCheck):
    """Two locks may have the same label: only the address, all of it, says which lock it is."""

    hint = _LINES
    scenarios = st.one_of(
        st.builds(_same_labels, st.just(2), st.just(True), st.booleans(), st.integers(0, 99)),
        st.builds(_same_labels, st.integers(2, 4), st.just(False), st.booleans(), st.integers(0, 99)),
    )
    examples = 12
    always = (
        *(_same_labels(2, closed, prefixes, 0) for closed in (True, False) for prefixes in (False, True)),
        *(_same_labels(2, True, True, order) for order in (1, 2, 3)),
        _same_labels(3, False, False, 0),
    )


def _odd_names(shift: int, busy: bool, order: int) -> dict[str, Any]:
    """Names with spaces and parentheses; with `busy`, one thread of the ring is active, so that there is no cycle."""
    names = _ODD[shift:] + _ODD[:shift]
    threads = _ring(2, ("active",) if busy else ())
    return _dump([*threads, _thread("idle"), _thread("active")], _locks(2), order, names)


class NamesAreTakenWhole(_DumpCheck):
    """A name is everything between its quotes: spaces, parentheses and words such as (idle) belong to it."""

    hint = _LINES
    scenarios = st.builds(_odd_names, st.integers(0, 9), st.booleans(), st.integers(0, 99))
    examples = 12
    always = (
        *(_odd_names(shift, False, 0) for shift in range(0, 10, 2)),
        *(_odd_names(shift, True, 0) for shift in (1, 4, 7)),
    )


_FREE = (
    "",
    "    - parking to wait for <{0}> (a Condition)",
    "    locked (pool.py:31)",
    "    Locals: lock = <{0}>, idle = True",
    "    Locals: unlocked = <{0}>",
    "    Arguments: name = 'Thread-9'",
    "        with self.lock:",
)


def _chatty(would: str, line: int, order: int) -> dict[str, Any]:
    """A line that speaks of a lock in other words. Taken for a wait it `would` hide or close a ring, for a hold too."""
    locks, threads = _locks(3), _ring(2)
    match would:
        case "hide it by a wait":
            threads[0]["more"] = [_FREE[line].format(locks[2][0])]
        case "close it by a wait":
            threads[-1]["waits"] = None
            threads[-1]["more"] = [_FREE[line].format(locks[0][0])]
        case _:
            threads[-1]["waits"] = 2
            threads[0]["more"] = [_FREE[line].format(locks[2][0])]
    return _dump([*threads, _thread("idle")], locks, order)


_WOULD = ("close it by a wait", "hide it by a wait", "close it by a hold")


class OtherLinesAreFree(_DumpCheck):
    """Only `- waiting to lock <…>` and `- locked <…>` tell of locks; whatever else stands in a dump says nothing."""

    hint = _LINES
    scenarios = st.builds(_chatty, st.sampled_from(_WOULD), st.integers(0, len(_FREE) - 1), st.integers(0, 99))
    examples = 12
    always = tuple(_chatty(would, line, 0) for would in _WOULD for line in range(len(_FREE)))


# Calls


class _Rows(MutableMapping[str, Any]):
    """The table under the DB: it counts its reads, and takes its time for each.

    A read has its value at once and hands it over `takes` seconds later. A write takes no time: time passes only while
    all threads wait, so a slow write would let every late fill come first.
    """

    def __init__(self, rows: dict[str, Any], world: World, takes: float) -> None:
        self._rows, self._world, self._takes = dict(rows), world, takes
        self.reads = 0

    def __getitem__(self, key: str) -> Any:
        self.reads += 1
        try:
            return self._rows[key]
        finally:
            if self._takes:
                self._world.sleep(self._takes)

    def __setitem__(self, key: str, value: Any) -> None:
        self._rows[key] = value

    def __delitem__(self, key: str) -> None:
        del self._rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._rows))

    def __len__(self) -> int:
        return len(self._rows)


def _calls(
    rows: dict[str, Any],
    *threads: list[Step],
    before: list[Step] | None = None,
    after: list[Step] | None = None,
    takes: float = 0.0,
) -> dict[str, Any]:
    """What is called: each step is ["get", key], ["query", key], ["update", key, value] or ["set", key, value]."""
    return {"rows": rows, "takes": takes, "before": before or [], "threads": list(threads), "after": after or []}


def _planned(scenario: dict[str, Any]) -> list[Step]:
    return [*scenario["before"], *(step for thread in scenario["threads"] for step in thread), *scenario["after"]]


def _step_in_words(step: Step) -> str:
    operation, key, *value = step
    return f"{operation}({', '.join(map(repr, [key, *value]))})"


class _CallsCheck(Check):
    """Makes the calls of a scenario on one `DB` with one `Cache`. Every call is one event."""

    stuck_hint = _LOCKS

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        cache_type, db_type = answer
        rows = _Rows(scenario["rows"], world, scenario["takes"])
        ticks = itertools.count()
        db = db_type(rows)
        cache = cache_type(db)
        targets = {"query": db.query, "update": db.update, "get": cache.get, "set": cache.set}

        def make(steps: list[Step]) -> None:
            for operation, *arguments in steps:
                began, reads = next(ticks), rows.reads
                event = world.call(_step_in_words([operation, *arguments]), targets[operation], *arguments)
                event.update(step=[operation, *arguments], began=began, ended=next(ticks), reads=rows.reads - reads)

        make(scenario["before"])
        for number, steps in enumerate(scenario["threads"], 1):
            world.start(make, steps, name=f"thread {number}")
        world.join()
        make(scenario["after"])

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        planned = _planned(scenario)
        told = [event["step"] for event in history if {"step", "outcome", "began", "ended", "reads"} <= event.keys()]
        if sorted(map(str, told)) != sorted(map(str, planned)) or len(told) != len(history):
            raise Mismatch(
                expected=f"a record of {_count(len(planned), 'call')}, each with its outcome",
                observed=f"one of {_count(len(told), 'call')}",
            )
        for index, event in enumerate(history):
            if event["outcome"] == "raised":
                raise Mismatch(
                    expected=f"{event['what']} to return",
                    observed=f"it raised {event['error']}: {event['message']}",
                    at=index,
                )
        self.judge_calls(scenario, history)

    def judge_calls(self, scenario: dict[str, Any], history: History) -> None:
        """Every call of the scenario is in the history, and has returned."""

    def describe(self, scenario: dict[str, Any]) -> str:
        rows = ", ".join(f"{key} = {value!r}" for key, value in scenario["rows"].items()) or "none"
        parts = [", ".join(map(_step_in_words, scenario["before"]))]
        parts += [
            f"thread {number}: {', '.join(map(_step_in_words, steps))}"
            for number, steps in enumerate(scenario["threads"], 1)
        ]
        parts += [("when all have ended: " if scenario["threads"] else "") + ", ".join(map(_step_in_words, after))
                  for after in [scenario["after"]] if after]  # fmt: skip
        return f"rows: {rows}; " + "; ".join(part for part in parts if part)


def _key_of(event: Event) -> str:
    return event["step"][1]


def _must_see(scenario: dict[str, Any], history: History) -> None:
    """Every read sees the last update of its key that had returned, a later one, or one that it overlapped."""
    for index, read in enumerate(history):
        if read["step"][0] not in ("get", "query"):
            continue
        key = _key_of(read)
        writes = [event for event in history if event["step"][:2] == ["update", key] and event["began"] < read["ended"]]
        values = [(-1, scenario["rows"].get(key)), *((write["ended"], write["step"][2]) for write in writes)]
        settled = [write for write in writes if write["ended"] < read["began"]]
        newest = max((write["began"] for write in settled), default=-2)
        allowed = [value for ended, value in values if ended >= newest]
        if not any(_same(read["value"], value) for value in allowed):
            last = max(settled, key=lambda write: write["ended"], default=None)
            why = f", for {last['what']} had returned before" if last else ""
            seen = " or ".join(dict.fromkeys(map(repr, allowed)))
            raise Mismatch(
                expected=f"{read['what']} to give {seen}{why}", observed=f"it gave {read['value']!r}", at=index
            )


def _same(one: Any, other: Any) -> bool:
    """Equal, and of one type: 0 is not False."""
    return type(one) is type(other) and one == other


_COLD = _calls({"a": 1, "b": 1}, [["get", "a"]], [["update", "a", 2]], after=[["query", "a"], ["get", "a"]])


def _crossing(one: str, other: str, more: bool) -> dict[str, Any]:
    """Cold reads and updates of two keys, in threads that need both locks; `more`: somebody calls set meanwhile."""
    threads: list[list[Step]] = [[["get", one], ["update", other, 2]], [["update", one, 3], ["get", other]]]
    threads += [[["set", "c", 7], ["query", "c"]]] if more else []
    return _calls({"a": 1, "b": 1, "c": 7}, *threads)


class NeverDeadlocks(_CallsCheck):
    """However the threads interleave, every call returns: 200 schedules, and no deadlock in one of them."""

    hint = _LOCKS
    scenarios = st.builds(_crossing, st.just("a"), st.sampled_from("ab"), st.just(True))
    examples = 1
    interleavings = 200
    always = (_calls({"a": 1, "b": 1}, [["get", "a"]], [["update", "a", 2]]),)


def _afterwards(value: Any, warm: bool, again: Any) -> dict[str, Any]:
    before: list[Step] = [["get", "a"]] if warm else []
    steps: list[Step] = [["update", "a", value], ["get", "a"], ["query", "a"]]
    return _calls({"a": 1, "b": 5}, before=before, after=[*steps, ["update", "a", again], ["get", "a"], ["get", "b"]])


class GetSeesTheLastUpdate(_CallsCheck):
    """A get that starts after an update has returned sees its value, whether or not the key was in the cache."""

    hint = _FRESH
    scenarios = st.builds(
        _afterwards,
        st.one_of(st.integers(2, 99), st.sampled_from(["", "new", 0, False])),
        st.booleans(),
        st.integers(100, 999),
    )
    examples = 12
    always = (_afterwards(2, True, 3), _afterwards(2, False, 3), _afterwards(0, True, 4), _afterwards(False, True, 4))

    def judge_calls(self, scenario: dict[str, Any], history: History) -> None:
        _must_see(scenario, history)


_REST: list[Step] = [["query", "a"], ["get", "a"]]
_RACES = (
    _calls({"a": 1}, [["get", "a"]], [["update", "a", 2]], after=_REST, takes=1.0),
    _calls({"a": 1}, [["get", "a"]], [["update", "a", 2]], after=_REST),
    _calls({"a": 1}, [["update", "a", 2]], [["update", "a", 3]], before=[["get", "a"]], after=_REST),
    _calls({"a": 1}, [["get", "a"], ["get", "a"]], [["update", "a", 2], ["get", "a"]], after=_REST),
    _calls({"a": 1, "b": 1}, [["get", "b"]], [["update", "a", 2]], before=[["get", "a"]], after=_REST),
)


class StaysFreshWhateverOverlaps(_CallsCheck):
    """When gets and updates overlap, no old value stays behind: later gets see what the table holds."""

    hint = _FRESH
    scenarios = st.sampled_from(_RACES[2:])
    examples = 1
    interleavings = 80
    always = _RACES

    def judge_calls(self, scenario: dict[str, Any], history: History) -> None:
        _must_see(scenario, history)
        query, get = history[-2:]
        if not _same(query["value"], get["value"]):
            raise Mismatch(
                expected=f"the cache to agree with the table when all is quiet: {query['value']!r}",
                observed=f"{get['what']} gave {get['value']!r}",
                at=len(history) - 1,
            )


def _twice(value: Any, between: list[Step]) -> dict[str, Any]:
    return _calls({"a": value, "b": 1}, before=[["get", "a"], *between, ["get", "a"]])


def _twice_after_update(value: Any) -> dict[str, Any]:
    return _calls({"a": 1, "b": 1}, before=[["update", "a", value], ["get", "a"], ["get", "a"]])


def _after_set(value: Any) -> dict[str, Any]:
    """What is put in is what the table holds: which of the two a get should give is nobody's question."""
    return _calls({"a": 1, "b": value}, before=[["set", "b", value], ["get", "a"], ["get", "b"]])


class SecondGetReadsNoRow(_CallsCheck):
    """Once a get has returned, or a set, another get of the same key reads no row, until that key is updated."""

    hint = _LOCKS
    scenarios = st.one_of(
        st.builds(
            _twice,
            st.sampled_from([1, 0, "", False, "row"]),
            st.lists(st.sampled_from([["update", "b", 2], ["get", "b"], ["query", "b"]]), max_size=3),
        ),
        st.builds(_twice_after_update, st.sampled_from([2, 0, "", False])),
        st.builds(_after_set, st.sampled_from([2, 0, "", False])),
    )
    examples = 12
    always = (
        _twice(1, []),
        _twice(0, []),
        _twice("", []),
        _twice(1, [["update", "b", 2]]),
        _twice_after_update(2),
        _twice_after_update(0),
        _after_set(1),
    )

    def judge_calls(self, scenario: dict[str, Any], history: History) -> None:
        if any(step[0] == "set" for step in scenario["before"]):
            _must_see(scenario, history)
        _reads_once(history)


def _reads_once(history: History) -> None:
    """The last call is a get of a key that is in the cache."""
    last = history[-1]
    if last["reads"]:
        raise Mismatch(
            expected=f"the last {last['what']} to read no row",
            observed=f"it read {_count(last['reads'], 'row')}",
            at=len(history) - 1,
        )


def _absent(key: str, between: list[Step]) -> dict[str, Any]:
    return _calls({"a": 1}, before=[["query", key], ["get", key], *between, ["get", key]])


class AbsentKeysAreNone(_CallsCheck):
    """A key without a row is None, from query and from get; and a second get of it reads no row either."""

    hint = _LOCKS
    scenarios = st.builds(
        _absent,
        st.sampled_from(["b", "", "a ", "A"]),
        st.lists(st.sampled_from([["get", "a"], ["update", "a", 2]]), max_size=2),
    )
    examples = 6
    always = (_absent("b", []), _absent("b", [["update", "a", 2]]), _absent("b", [["get", "a"], ["get", "a"]]))

    def judge_calls(self, scenario: dict[str, Any], history: History) -> None:
        key = _planned(scenario)[0][1]
        for index, event in enumerate(history):
            if _key_of(event) == key and event["value"] is not None:
                raise Mismatch(
                    expected=f"{event['what']} to give None: there is no such row",
                    observed=f"it gave {event['value']!r}",
                    at=index,
                )
        _reads_once(history)


class CacheIsKnownToItsDb(_CallsCheck):
    """`Cache(db)` sets `db.cache` to itself: that is how an update finds the cache."""

    hint = _LOCKS
    scenarios = st.fixed_dictionaries({"rows": st.dictionaries(st.sampled_from("abc"), st.integers(0, 9))})
    examples = 3
    always = ({"rows": {"a": 1}}, {"rows": {}})

    def drive(self, answer: Any, scenario: dict[str, Any], world: World) -> None:
        cache_type, db_type = answer
        db = db_type(_Rows(scenario["rows"], world, 0.0))
        cache = cache_type(db)
        world.call("db.cache is cache", lambda: db.cache is cache)

    def judge(self, scenario: dict[str, Any], history: History) -> None:
        if len(history) != 1 or not {"outcome", "until"} <= history[0].keys():
            raise Mismatch(expected="a record of one look at db.cache", observed=_count(len(history), "event"))
        event = history[0]
        if event["outcome"] == "raised" or event.get("value") is not True:
            got = f"{event['error']}: {event['message']}" if event["outcome"] == "raised" else "it is something else"
            raise Mismatch(expected="db.cache to be the cache that was made last", observed=got, at=0)

    def describe(self, scenario: dict[str, Any]) -> str:
        return f"db = DB(a table of {_count(len(scenario['rows']), 'row')}), cache = Cache(db)"
