"""From an answer to its verdict, in every isolation: each way to end has its status, and costs no other check."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest
from counter_course import IDS, RIGHT, STUBS
from hypothesis.strategies import SearchStrategy

from graders.course import Exercise, exercises, find
from graders.engine import Answer, Engine, Verdict
from graders.engine.material import Material
from graders.engine.runner import driver_module
from graders.kit import checks_in

Graded = Callable[..., Verdict]


def statuses(verdict: Verdict) -> dict[str, str]:
    return {check.id: check.status for check in verdict.checks}


def message(verdict: Verdict, check: str = "doubles-twice") -> str:
    """The words of one check's card, in one line."""
    return " ".join(next(found.message for found in verdict.checks if found.id == check).split())


def test_a_right_answer_has_all_points(graded: Graded) -> None:
    verdict = graded()
    assert statuses(verdict) == dict.fromkeys(IDS, "passed")
    assert (verdict.score, verdict.max) == (4.5, 4.5)
    assert verdict.flags == ()


def test_cells_that_a_person_grades_are_counted_apart(graded: Graded) -> None:
    assert graded().manual == ({"id": "why", "max": 3},)


def test_a_verdict_is_the_document_that_is_promised(graded: Graded) -> None:
    document = json.loads(graded(seed=11).dumps())
    assert {"exercise", "score", "max", "isolation", "seed", "checks", "flags"} <= set(document)
    assert document["exercise"] == "17.9.1-counter"
    assert document["seed"] == 11
    assert {"id", "title", "points", "max", "status", "message", "seconds"} <= set(document["checks"][0])
    assert Verdict.from_json(document).as_json() == document


def test_a_wrong_answer_reads_what_was_expected_and_keeps_its_other_points(graded: Graded) -> None:
    verdict = graded(double="def double(number):\n    return number + 3\n")
    assert statuses(verdict) == {"counts-every-call": "passed", "starts-at-zero": "passed", "doubles-twice": "failed"}
    assert verdict.score == 3
    assert "expected 0 observed 3" in message(verdict)


def test_the_same_seed_gives_the_same_verdict(graded: Graded) -> None:
    wrong = (
        "import random\n"
        "def double(number):\n"
        "    return f'{object()} {sorted({chr(i) for i in range(99)}, key=hash)} {random.random()}'\n"
    )
    first, again = (graded(double=wrong, seed=3).as_json() for _ in range(2))
    for document in (first, again):
        for check in document["checks"]:
            del check["seconds"]
    assert first == again
    assert "<object object at 0x…>" in first["checks"][2]["message"]


def test_without_a_seed_one_is_drawn_and_recorded(engine: Engine, exercise: Exercise) -> None:
    first, second = (engine.grade(exercise, Answer(RIGHT)).seed for _ in range(2))
    assert first != second


def test_nothing_written_is_unanswered_and_not_run(engine: Engine, exercise: Exercise) -> None:
    for answer in (Answer(STUBS), Answer({}), Answer({"counter": "", "double": "# later"})):
        verdict = engine.grade(exercise, answer)
        assert set(statuses(verdict).values()) == {"unanswered"}
        assert verdict.score == 0


def test_a_part_that_is_not_written_is_unanswered(graded: Graded, engine: Engine, exercise: Exercise) -> None:
    untouched = graded(double=STUBS["double"])
    missing = engine.grade(exercise, Answer({"counter": RIGHT["counter"]}))
    for verdict in (untouched, missing):
        assert statuses(verdict)["doubles-twice"] == "unanswered"
        assert verdict.score == 3
    assert "nothing is written yet in the cell double" in message(missing)


def test_a_cell_that_stops_costs_only_the_names_that_it_does_not_define(graded: Graded) -> None:
    broken = graded(double="def double(number: return 2")
    assert statuses(broken) == {"counts-every-call": "passed", "starts-at-zero": "passed", "doubles-twice": "error"}
    assert "the cell double stopped on line 1" in message(broken)
    assert "SyntaxError" in message(broken)
    late = graded(double=RIGHT["double"] + "\nprint(no_such_name)")
    assert late.score == 4.5
    assert late.flags == (
        "double: stopped on line 4 (`print(no_such_name)`) with NameError: name 'no_such_name' is not defined",
    )


def test_a_name_that_was_misspelt_is_named(graded: Graded) -> None:
    assert "there is no double after" in message(graded(double="def doubel(number):\n    return 2 * number\n"))


def test_the_module_that_is_asked_for_cannot_be_imported(graded: Graded) -> None:
    verdict = graded(double="from shared.reference_counter import double")
    assert statuses(verdict)["doubles-twice"] == "error"
    assert "shared.reference_counter is not available" in message(verdict)


ENDS: dict[str, tuple[str, str, str]] = {
    "an infinite loop": ("while True:\n        pass", "timeout", "still computing after the 1 s"),
    "os._exit": ("import os\n    os._exit(3)", "crashed", "ended its own process (exit code 3)"),
    "an abort": ("import os\n    os.abort()", "crashed", "its process ended by SIG"),
    "a segmentation fault": ("import ctypes\n    ctypes.string_at(0)", "crashed", "SIGSEGV"),
    "too much memory at once": ("return bytearray(5 << 30)", "out_of_memory", "256 MiB"),
    "too much memory in bits": (
        "kept = []\n    while True:\n        kept.append(bytearray(1 << 20))",
        "out_of_memory",
        "",
    ),
    "too much shared memory": (
        "import mmap\n    kept = []\n    while True:\n        kept.append(mmap.mmap(-1, 1 << 20, flags=33))\n"
        "        kept[-1].write(b'x' * (1 << 20))",
        "out_of_memory",
        "",
    ),
    "too many processes": (
        "import os, time\n    for _ in range(80):\n        if os.fork() == 0:\n            time.sleep(99)\n"
        "            os._exit(0)\n    while True:\n        pass",
        "crashed",
        "more than 64 processes",
    ),
    "a closed connection": ("import os\n    os.close(3)", "crashed", ""),
    "a false reply": ("import os\n    os.write(3, b'\\xff' * 4096)\n    os._exit(0)", "refused", "4,294,967,295 bytes"),
    "a false recording": (
        "import os, json\n    text = json.dumps({'recordings': [[{'history': 'passed'}]]}).encode()\n"
        "    os.write(3, len(text).to_bytes(4, 'big') + text)\n    os._exit(0)",
        "refused",
        "not a recording",
    ),
    "an empty history": (
        "import os, json\n"
        "    text = json.dumps({'recordings': [[{'history': [], 'schedule': {}, 'trouble': None}]]}).encode()\n"
        "    os.write(3, len(text).to_bytes(4, 'big') + text)\n    os._exit(0)",
        "refused",
        "at least one event",
    ),
}


@pytest.mark.parametrize("kind", ENDS)
def test_each_end_has_its_status_and_words_and_earlier_points_are_kept(kind: str, graded: Graded) -> None:
    body, status, words = ENDS[kind]
    verdict = graded(double=f"def double(number):\n    {body}\n")
    assert statuses(verdict) == {"counts-every-call": "passed", "starts-at-zero": "passed", "doubles-twice": status}
    assert verdict.score == 3
    assert words in message(verdict)


def test_the_checks_after_a_crash_have_a_fresh_runner(graded: Graded) -> None:
    counter = RIGHT["counter"].replace("self.value += STEP", "import os; os._exit(1)")
    verdict = graded(counter=counter)
    assert statuses(verdict) == {
        "counts-every-call": "crashed",
        "starts-at-zero": "passed",
        "doubles-twice": "crashed",
    }


@pytest.mark.parametrize(
    ("cell", "status"),
    [
        ("while True:\n    pass", "timeout"),
        ("import os\nos._exit(0)", "crashed"),
        ("kept = [bytearray(1 << 20) for _ in range(999)]", "out_of_memory"),
    ],
)
def test_an_answer_that_never_starts_is_started_once(
    cell: str, status: str, engine: Engine, exercise: Exercise
) -> None:
    verdict = engine.grade(exercise, Answer(RIGHT | {"counter": f"print('started')\n{cell}"}))
    assert statuses(verdict) == dict.fromkeys(IDS, status)
    assert verdict.printed == "started\n"


def test_an_answer_that_waits_for_ever_is_stopped_by_the_wall_clock(
    impatient_engine: Engine, exercise: Exercise
) -> None:
    verdict = impatient_engine.grade(exercise, Answer(RIGHT | {"counter": "import time\ntime.sleep(9999)"}))
    assert statuses(verdict) == dict.fromkeys(IDS, "timeout")


def test_waiting_counts_towards_the_budget_of_all_checks(impatient_engine: Engine, exercise: Exercise) -> None:
    waits = "import select\nclass Counter:\n    def __init__(self):\n        select.select([], [], [], 9999)\n"
    verdict = impatient_engine.grade(exercise, Answer(RIGHT | {"counter": waits}))
    assert statuses(verdict) == dict.fromkeys(IDS, "timeout")
    assert "for all checks of this answer were used up" in message(verdict)


def test_all_checks_together_have_a_budget(engine: Engine, exercise: Exercise) -> None:
    slow = "class Counter:\n    def __init__(self):\n        while True:\n            pass\n"
    verdict = engine.grade(exercise, Answer(RIGHT | {"counter": slow}))
    assert statuses(verdict) == dict.fromkeys(IDS, "timeout")
    assert "the 1.8 s for all checks of this answer were used up" in message(verdict)


HARMLESS = {
    "logging": "import logging\nlogging.warning('to stderr')",
    "warnings": "import warnings\nwarnings.warn('old')",
    "printing": "import sys\nprint('x' * 10_000, file=sys.stderr)",
    "much printing": "for _ in range(3000):\n    print('x' * 999)",
    "half a character": r"print('\ud800')",
    "a daemon thread": "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
    "a thread that never ends": "import threading\nthreading.Thread(target=threading.Event().wait).start()",
    "a thread's traceback": "import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()",
    "if __name__": "if __name__ == '__main__':\n    print('main')",
    "top-level await": "import asyncio\nawait asyncio.sleep(0)",
    "a dataclass": "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: 'int' = 0\nPoint()",
    "a temporary file": "import tempfile\nwith tempfile.TemporaryFile() as f:\n    f.write(b'x')",
    "a file in its folder": "with open('notes.txt', 'w') as f:\n    f.write('x')",
    "own arguments": "import sys\nsys.argv[1:] = ['x']",
    "calling a check": "check.doubles_twice(Counter, double)",
    "exit at the end": "raise SystemExit",
    "many threads": (
        "import threading\nhold = threading.Event()\n"
        "many = [threading.Thread(target=hold.wait) for _ in range(100)]\n"
        "[t.start() for t in many]\nhold.set()\n[t.join() for t in many]"
    ),
    "Hypothesis": "from hypothesis import strategies\nstrategies.integers(0, 9).validate()",
    "another event loop": "import asyncio\nasyncio.run(asyncio.sleep(0))",
    "unicode": "größe = 'ünï'\nprint(größe)",
    "a server on localhost": (
        "import socket\nserver = socket.create_server(('localhost', 0))\n"
        "socket.create_connection(server.getsockname()).close()"
    ),
    "a process": "import subprocess, sys\nassert subprocess.run([sys.executable, '-c', 'pass']).returncode == 0",
}


@pytest.mark.parametrize("habit", HARMLESS)
def test_a_harmless_habit_costs_nothing(habit: str, graded: Graded) -> None:
    verdict = graded(double=f"{RIGHT['double']}\n{HARMLESS[habit]}\n")
    assert statuses(verdict) == dict.fromkeys(IDS, "passed")
    allowed = {
        "much printing": ("it printed more than 1 MiB",),
        "exit at the end": ("double: stopped",),
        "Hypothesis": ("double: line 4 reaches for the generator of scenarios",),
    }
    assert all(flag.startswith(allowed.get(habit, ())) for flag in verdict.flags), verdict.flags


@pytest.mark.parametrize("name", [each.number for each in exercises() if each.checks.exists()])
def test_every_check_module_of_the_course_drives_without_strategies(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exercise = find(name)
    monkeypatch.delitem(sys.modules, exercise.module, raising=False)
    module = driver_module(exercise.checks.read_text(encoding="utf-8"), exercise.module, str(exercise.checks))
    made = checks_in(module)
    assert list(made) == list(Material.load(exercise).checks)
    assert not any(isinstance(check.scenarios, SearchStrategy) for check in made.values())


def test_what_an_answer_printed_is_kept_apart_from_the_verdict(graded: Graded) -> None:
    verdict = graded(double=f"{RIGHT['double']}\nimport sys\nprint('out')\nprint('err', file=sys.stderr)\n")
    assert verdict.printed == "out\nerr\n"
    assert "printed" not in verdict.as_json()
    assert verdict.as_json(printed=True)["printed"] == "out\nerr\n"


def test_reaching_for_the_machinery_is_flagged_and_scores_the_same(graded: Graded) -> None:
    verdict = graded(double=f"import gc\nfrom graders import kit\n{RIGHT['double']}")
    assert verdict.score == 4.5
    assert verdict.flags == (
        "double: line 1 reaches for objects of other code through gc",
        "double: line 2 reaches for the graders",
    )
