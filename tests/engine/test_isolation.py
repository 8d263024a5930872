"""What an answer finds around it, in the sandbox and without one, and what is left after it: nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from counter_course import RIGHT

from graders.course import COURSE_ROOT, Exercise
from graders.engine import Answer, Engine, IsolationUnavailable, Limits, Verdict, grade
from graders.engine.isolation import BubblewrapIsolation, ProcessIsolation, isolation_named

Graded = Callable[..., Verdict]
sandboxed = pytest.mark.needs("bwrap")


def found_by(engine: Engine, exercise: Exercise, code: str) -> str:
    """What code prints where answers run."""
    return engine.grade(exercise, Answer(RIGHT | {"double": f"{RIGHT['double']}\n{code}\n"})).printed.strip()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Engine]:
    with Engine(isolation="bubblewrap", limits=Limits(disk=1 << 20, file_size=1 << 16)) as made:
        yield made


@sandboxed
def test_an_answer_is_nobody_and_alone(sandbox: Engine, exercise: Exercise) -> None:
    printed = found_by(
        sandbox,
        exercise,
        "import os\n"
        f"print(os.getuid() not in (0, {os.getuid()}), os.getgroups(), os.getpid(), os.environ.get('USER'))\n"
        "print(sorted(int(name) for name in os.listdir('/proc') if name.isdigit()))",
    )
    assert printed == "True [] 1 None\n[1]"


@sandboxed
def test_an_answer_has_no_capability_and_can_get_none(sandbox: Engine, exercise: Exercise) -> None:
    printed = found_by(
        sandbox,
        exercise,
        "import ctypes\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print({status[name].strip('\\t\\n0') for name in ('CapPrm', 'CapEff', 'CapInh', 'CapAmb')})\n"
        "print(status['NoNewPrivs'].strip(), ctypes.CDLL(None).unshare(0x10000000))",
    )
    assert printed == "{''}\n1 -1"


@sandboxed
def test_the_course_is_there_and_what_is_withheld_is_not(exercise: Exercise) -> None:
    program = (
        "import importlib.util, os, sys\n"
        f"root = {str(COURSE_ROOT)!r}\n"
        "import shared.resilience.contracts, graders.kit\n"
        "print(sorted(set(os.listdir(root))))\n"
        "print(sorted(os.listdir(root + '/graders/answers')))\n"
        "files = [name for _, _, names in os.walk(root + '/shared/resilience') for name in names]\n"
        "print([name for name in files if 'circuit_breaker' in name])\n"
        "print(importlib.util.find_spec('shared.resilience.circuit_breaker'))\n"
    )
    withheld = ("shared.resilience.circuit_breaker",)
    command, descriptors = BubblewrapIsolation().command([sys.executable, "-c", program], withheld)
    try:
        printed = subprocess.run(
            command, pass_fds=descriptors, capture_output=True, text=True, env={"PYTHONPATH": str(COURSE_ROOT)}
        )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    root, answers, reference, spec = printed.stdout.splitlines() or [printed.stderr] * 4
    assert set(json.loads(root.replace("'", '"'))) <= {".venv", "graders", "shared"}
    assert (answers, reference, spec) == ("[]", "[]", "None")
    assert (COURSE_ROOT / "shared/resilience/circuit_breaker.py").exists()


@sandboxed
def test_nothing_outside_its_own_folder_can_be_written(sandbox: Engine, exercise: Exercise) -> None:
    printed = found_by(
        sandbox,
        exercise,
        "import os, sys, tempfile\n"
        f"for folder in ('/', '/etc', '/dev', '/usr/lib', sys.prefix, {str(COURSE_ROOT / 'shared')!r}):\n"
        "    try:\n"
        "        open(folder + '/planted', 'w')\n"
        "        print(folder)\n"
        "    except OSError:\n"
        "        pass\n"
        "print(tempfile.gettempdir(), os.getcwd(), os.listdir('/dev/shm'))",
    )
    assert printed == "/tmp /tmp []"


@sandboxed
def test_files_have_a_largest_size_and_a_common_room(sandbox: Engine, exercise: Exercise) -> None:
    printed = found_by(
        sandbox,
        exercise,
        "import errno\n"
        "def written(path, size):\n"
        "    try:\n"
        "        with open(path, 'wb') as file:\n"
        "            file.write(b'x' * size)\n"
        "    except OSError as error:\n"
        "        return errno.errorcode[error.errno]\n"
        "print(written('large', 1 << 17), {written(f'{i}', 60_000) for i in range(30)} - {None})\n"
        "print(written('/dev/shm/more', 60_000))",
    )
    assert printed == "EFBIG {'ENOSPC'}\nENOSPC"


@sandboxed
def test_one_answer_leaves_the_next_nothing(sandbox: Engine, exercise: Exercise) -> None:
    # A course that is installed below /tmp is there as well.
    look = f"import os\nprint(set(os.listdir('/tmp')) - {set(COURSE_ROOT.parts)}, os.listdir('/dev/shm'))"
    before = found_by(sandbox, exercise, look)
    found_by(sandbox, exercise, "open('/tmp/left', 'w'), open('/dev/shm/left', 'w')\nimport json\njson.dumps = None")
    assert found_by(sandbox, exercise, look) == before == "{'.shm'} []"
    assert sandbox.grade(exercise, Answer(RIGHT)).score == 4.5


@sandboxed
def test_there_is_no_network_but_loopback(sandbox: Engine, exercise: Exercise) -> None:
    printed = found_by(
        sandbox,
        exercise,
        "import socket\n"
        "print('lo' in [name for _, name in socket.if_nameindex()])\n"
        "server = socket.create_server(('localhost', 8000))\n"
        "socket.create_connection(('localhost', 8000)).close()\n"
        "try:\n"
        "    socket.create_connection(('192.0.2.1', 80), timeout=1)\n"
        "except OSError as error:\n"
        "    print(error.strerror)",
    )
    assert printed == "True\nNetwork is unreachable"


def test_the_module_that_is_asked_for_is_not_loaded_where_answers_run(engine: Engine, exercise: Exercise) -> None:
    printed = found_by(engine, exercise, "import sys\nprint([name for name in sys.modules if 'reference' in name])")
    assert printed == "[]"


def test_the_environment_of_the_examiner_does_not_reach_an_answer(
    isolation: str, exercise: Exercise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_SECRET", "token")
    with Engine(isolation=isolation) as engine:
        assert found_by(engine, exercise, "import os\nprint(os.environ.get('COURSE_SECRET'))") == "None"


def test_only_the_connection_and_the_standard_files_are_open(engine: Engine, exercise: Exercise) -> None:
    printed = found_by(engine, exercise, "import os\nprint(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])")
    assert printed == "[0, 1, 2, 3]"


def descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


LEAVES_PROCESSES = {
    "a process in a session of its own": (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(999)'], start_new_session=True)"
    ),
    "a daemon, forked twice": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n"
        "    if os.fork() == 0:\n        time.sleep(999)\n    os._exit(0)"
    ),
    "a process that ignores signals": (
        "import os, signal, time\nif os.fork() == 0:\n"
        "    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "        signal.signal(number, signal.SIG_IGN)\n"
        "    time.sleep(999)"
    ),
}


@pytest.mark.parametrize("kind", LEAVES_PROCESSES)
def test_no_process_outlives_its_answer(kind: str, engine: Engine, exercise: Exercise) -> None:
    engine.grade(exercise, Answer(RIGHT))
    warm = descendants()
    assert (
        engine.grade(exercise, Answer(RIGHT | {"double": f"{RIGHT['double']}\n{LEAVES_PROCESSES[kind]}"})).score == 4.5
    )
    _, alive = psutil.wait_procs(descendants() - warm, timeout=30)  # a keeper ends right after its report
    assert alive == []


def test_no_process_and_no_file_is_left_when_an_engine_closes(isolation: str, exercise: Exercise) -> None:
    before = descendants()
    stubborn = "import os\nos.mkdir('a')\nopen('a/b', 'w').close()\nos.chmod('a', 0)\nprint(os.getcwd())"
    with Engine(isolation=isolation) as engine:
        home = found_by(engine, exercise, stubborn)
    assert descendants() == before
    assert home == "/tmp" or not Path(home).exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_is_left_when_the_examiner_is_killed(
    how: signal.Signals, isolation: str, exercise: Exercise
) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom graders.course import Exercise\nfrom graders.engine import *\n"
        f"exercise = Exercise({exercise.slug!r}, {exercise.section!r}, Path({str(exercise.root)!r}))\n"
        f"with Engine(isolation={isolation!r}) as engine:\n"
        f"    engine.grade(exercise, Answer({RIGHT!r}))\n"
        "    print('warm', flush=True)\n"
        f"    engine.grade(exercise, Answer({RIGHT | {'double': 'while True: pass'}!r}))\n"
    )
    examiner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert examiner.stdout and examiner.stdout.readline() == b"warm\n"
    started = psutil.Process(examiner.pid).children(recursive=True)
    examiner.send_signal(how)
    examiner.wait(timeout=60)
    examiner.stdout.close()
    _, alive = psutil.wait_procs(started, timeout=60)
    assert alive == []


def test_an_unknown_isolation_is_refused_with_the_choices() -> None:
    with pytest.raises(IsolationUnavailable, match="Choose one of: bubblewrap, process"):
        isolation_named("magic")


def test_a_machine_without_bubblewrap_refuses_and_says_what_to_do(
    exercise: Exercise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with Engine(isolation="bubblewrap") as engine, pytest.raises(IsolationUnavailable) as caught:
        engine.grade(exercise, Answer(RIGHT))
    assert "apt install bubblewrap" in str(caught.value)
    assert "--isolation=process" in str(caught.value)


def test_a_sandbox_that_cannot_be_made_is_refused_with_its_reason(
    exercise: Exercise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with (
        Engine(isolation="bubblewrap") as engine,
        pytest.raises(IsolationUnavailable, match="No permissions to create"),
    ):
        engine.grade(exercise, Answer(RIGHT))


def test_a_warm_process_that_was_lost_is_started_again(isolation: str, exercise: Exercise) -> None:
    with Engine(isolation=isolation) as engine:
        engine.grade(exercise, Answer(RIGHT))
        for process in descendants():
            with suppress(psutil.NoSuchProcess):  # it may end with another one
                process.kill()
        psutil.wait_procs(descendants(), timeout=60)
        assert engine.grade(exercise, Answer(RIGHT)).score == 4.5


def test_without_a_word_answers_are_graded_in_the_sandbox_or_not_at_all(
    exercise: Exercise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(IsolationUnavailable, match=r"isolated by bubblewrap.*--isolation=process"):
        grade(exercise, Answer(RIGHT))
    assert grade(exercise, Answer(RIGHT), isolation="process").isolation == "process"


def test_an_isolation_can_be_given_itself(exercise: Exercise) -> None:
    with Engine(isolation=ProcessIsolation()) as engine:
        assert engine.grade(exercise, Answer(RIGHT)).isolation == "process"
