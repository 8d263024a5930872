"""How the warm process is set apart from the examiner, and its forks from each other. One name for each way.

An isolation that cannot be had is refused with a sentence; nothing falls back to a weaker one by itself.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from graders.course import COURSE_ROOT
from graders.engine.keeper import Confinement

__all__ = [
    "DEFAULT_ISOLATION",
    "ISOLATIONS",
    "BubblewrapIsolation",
    "Isolation",
    "IsolationUnavailable",
    "ProcessIsolation",
    "isolation_named",
]


class IsolationUnavailable(Exception):
    """This machine cannot isolate answers in the way that was asked for. The text says what to do."""


class Isolation(ABC):
    """Starts the warm process for one exercise."""

    name: str
    confinement: Confinement
    """What the keepers of the warm process do to each runner."""
    advice: str = ""
    """What to do where it cannot be had."""

    @abstractmethod
    def command(self, program: Sequence[str], withheld: Sequence[str]) -> tuple[list[str], list[int]]:
        """The command that runs `program` set apart, without the modules `withheld`; and descriptors that it reads."""

    def unavailable(self, reason: str) -> IsolationUnavailable:
        """What to raise where this isolation cannot be had."""
        return IsolationUnavailable(f"Answers cannot be isolated by {self.name} here: {reason}. {self.advice}".rstrip())

    def start(self, withheld: Sequence[str]) -> Started:
        """Start the warm process. Raises IsolationUnavailable."""
        ours, theirs = socket.socketpair()
        program = [sys.executable, "-s", "-P", "-m", "graders.engine.zygote", str(theirs.fileno())]
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process that writes to it
        descriptors: list[int] = []
        try:
            command, descriptors = self.command(program, withheld)
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=[theirs.fileno(), *descriptors],
                env=_environment(),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            errors.close()
            raise self.unavailable(f"the process that runs answers could not be started ({error})") from None
        finally:
            theirs.close()
            for descriptor in descriptors:
                os.close(descriptor)
        return Started(process, ours, errors)


class Started:
    """A warm process and the socket to it."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, errors: IO[bytes]) -> None:
        self.control = control
        self._process = process
        self._errors = errors

    def complaint(self) -> str:
        """The last line that it wrote, once it has ended."""
        self.stop()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with code {self._process.returncode}"

    def stop(self) -> None:
        """End it and everything that was forked from it; return when they are gone."""
        self.control.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        self.stop()
        self._errors.close()


class ProcessIsolation(Isolation):
    """A forked process under resource limits, ended by its process tree.

    It keeps accidents apart. Code that means harm can still read this user's files and signal this user's processes.
    """

    name = "process"
    confinement = Confinement()

    def command(self, program: Sequence[str], withheld: Sequence[str]) -> tuple[list[str], list[int]]:
        return list(program), []


class BubblewrapIsolation(Isolation):
    """A sandbox with what Python and the course need, read-only, and no network; in it, namespaces for each runner.

    What is withheld, sources, answers, other people's work and the gradebook are not in it at all.
    """

    name = "bubblewrap"
    advice = "To grade code that you trust without a sandbox, use --isolation=process."
    confinement = Confinement(namespaces=True)

    def command(self, program: Sequence[str], withheld: Sequence[str]) -> tuple[list[str], list[int]]:
        if sys.platform != "linux":
            raise self.unavailable("it needs Linux")
        bubblewrap = shutil.which("bwrap")
        if bubblewrap is None:
            raise self.unavailable("it is not installed (apt install bubblewrap)")
        files = {path: _in_memory(text) for path, text in _SYSTEM_FILES.items()}
        command = [bubblewrap, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
        if os.geteuid() == 0:
            # The warm process stays root inside, with what it takes to set runners apart; each runner is another user.
            for capability in _KEEPER_CAPABILITIES:
                command += ["--cap-add", capability]
        else:
            command += ["--unshare-user", "--uid", _NOBODY, "--gid", _NOBODY]
        command += ["--proc", "/proc", "--dev", "/dev", "--perms", "0755", "--dir", "/tmp"]
        for path, descriptor in files.items():
            command += ["--perms", "0444", "--ro-bind-data", str(descriptor), path]
        command += _mounts(withheld)
        command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--", *program]
        return command, list(files.values())


_NOBODY = "65534"
_KEEPER_CAPABILITIES = (
    "CAP_SYS_ADMIN",
    "CAP_NET_ADMIN",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_KILL",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RESOURCE",
)
_SYSTEM_FILES = {
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/passwd": f"root:x:0:0::/:/bin/false\nnobody:x:{_NOBODY}:{_NOBODY}::/tmp:/bin/false\n",
    "/etc/nsswitch.conf": "passwd: files\nhosts: files\n",
}
_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib")
_SYSTEM_DATA = ("/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo")
_COURSE_PARTS = ("shared", "graders")
_HIDDEN_PARTS = ("graders/answers", "solutions", "chapters", "build", "tests")


def _mounts(withheld: Sequence[str]) -> list[str]:
    """Read-only mounts of Python and the course, as options of bubblewrap, with holes where something is withheld."""
    python = (sys.base_prefix, sys.prefix)
    course = [str(COURSE_ROOT / part) for part in _COURSE_PARTS]
    shown: list[str] = []
    options: list[str] = []
    for path in (*_LIBRARIES, *python, *course):
        if any(Path(path).is_relative_to(parent) for parent in shown):
            continue
        if os.path.islink(path):
            options += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            options += [*_folders_above(path), "--ro-bind", path, path]
            shown.append(path)
    options += _links_to_program(sys.executable, shown)
    for path in _SYSTEM_DATA:
        options += ["--ro-bind-try", path, path]
    for part in _HIDDEN_PARTS:
        hidden = COURSE_ROOT / part
        if hidden.is_dir() and any(hidden.is_relative_to(parent) for parent in shown):
            options += ["--tmpfs", str(hidden), "--remount-ro", str(hidden)]
    for module in withheld:
        options += _without_module(COURSE_ROOT.joinpath(*module.split(".")))
    return options


def _links_to_program(path: str, shown: Sequence[str]) -> list[str]:
    """The links between the name by which Python was started and its file, those that no mount shows."""
    options: list[str] = []
    while True:
        inside = any(Path(path).is_relative_to(parent) for parent in shown)
        if not os.path.islink(path):
            return options if inside else [*options, *_folders_above(path), "--ro-bind", path, path]
        if not inside:
            options += [*_folders_above(path), "--symlink", os.readlink(path), path]
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))


def _without_module(module: Path) -> list[str]:
    """Show the folder of a module anew, with everything but the module and its compiled forms."""
    folder = module.parent
    if not folder.is_dir():
        return []
    options = ["--tmpfs", str(folder)]
    for path in _visible(folder, module.name):
        options += ["--ro-bind", str(path), str(path)]
    cache = folder / "__pycache__"
    if cache.is_dir():
        options += ["--perms", "0755", "--dir", str(cache)]
        for path in _visible(cache, module.name):
            options += ["--ro-bind", str(path), str(path)]
    return [*options, "--remount-ro", str(folder)]


def _visible(folder: Path, withheld: str) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name != "__pycache__" and path.name.split(".")[0] != withheld:
            yield path


def _folders_above(path: str) -> list[str]:
    """Make the folders above a mount, readable by all: bubblewrap makes missing ones for their owner alone."""
    options = []
    for parent in reversed(Path(path).parents):
        if parent != Path("/"):
            options += ["--perms", "0755", "--dir", str(parent)]
    return options


def _in_memory(text: str) -> int:
    """A descriptor that reads `text` from its beginning."""
    descriptor = os.memfd_create("file")
    os.write(descriptor, text.encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _environment() -> dict[str, str]:
    """Nothing of the examiner's environment reaches an answer, except what Python needs to find itself."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(COURSE_ROOT),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Numerical libraries start threads on import otherwise, and a process with threads cannot be forked.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }


ISOLATIONS: dict[str, type[Isolation]] = {kind.name: kind for kind in (BubblewrapIsolation, ProcessIsolation)}
DEFAULT_ISOLATION = BubblewrapIsolation.name
"""Graded runs use the sandbox; a machine that cannot make one refuses until its owner asks for another isolation."""


def isolation_named(name: str) -> Isolation:
    """The isolation of that name. Raises IsolationUnavailable where there is none."""
    if name not in ISOLATIONS:
        raise IsolationUnavailable(f"There is no isolation {name!r}. Choose one of: {', '.join(ISOLATIONS)}.")
    return ISOLATIONS[name]()
