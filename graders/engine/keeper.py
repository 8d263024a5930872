"""The keeper of one runner: forks it, watches what it uses, ends it, and reports its end when nothing of it is left.

No code of an answer ever runs in a keeper. Its report is sent after the last process of the answer is gone.
"""

from __future__ import annotations

import os
import resource
import selectors
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

from graders.engine import confine
from graders.engine.limits import Limits
from graders.engine.wire import Channel, Closed, Garbled

__all__ = ["Confinement", "end_descendants", "keep"]

_TICK = 0.05
_PAUSE = 0.005
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_RUNNER_SOCKET = 3
_FIRST_USER, _USERS = 60_600, 500
"""Users that no distribution gives to anybody (systemd.io, "Users, Groups, UIDs and GIDs on systemd Systems")."""
_CONFINED = b"confined"
_PRIVATE_HOME = "/tmp"


@dataclass(frozen=True)
class Confinement:
    """How a runner is set apart from the process that it is forked from.

    `namespaces`: it has its own processes, mounts, network and IPC. Without, limits alone set it apart. Either way, the
    runner of a zygote that is root becomes a user that nobody else is.
    """

    namespaces: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def keep(
    runner_socket: socket.socket,
    examiner: Channel,
    limits: Limits,
    confinement: Confinement,
    run: Callable[[socket.socket, str], NoReturn],
) -> NoReturn:
    """Be the keeper of one answer, in a process forked for it. `run` is what the runner does once it is confined."""
    with suppress(Closed):
        try:
            keeper = _Keeper(runner_socket, examiner, limits, confinement, run)
        except OSError as error:
            examiner.send({"unconfined": str(error)})
        else:
            examiner.send(keeper.report())
    os._exit(0)


def end_descendants(grace: float = 0.0) -> None:
    """Return when this process has no descendants any more; those that are left after `grace` seconds are killed."""
    kill_from = time.monotonic() + grace
    while True:
        if time.monotonic() >= kill_from:
            for pid in _tree(os.getpid())[1:]:
                _signal(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        time.sleep(_PAUSE)


@dataclass
class _Usage:
    """What a process tree uses now; `memory` is what it does not share with files."""

    processes: int = 0
    memory: int = 0
    cpu: float = 0.0


@dataclass
class _Capture:
    """What was printed, up to a limit; the rest is read and forgotten, so that a printing answer never blocks."""

    limit: int
    data: bytearray = field(default_factory=bytearray)
    dropped: bool = False

    def read(self, descriptor: int) -> bool:
        """Take what is there; False at the end of the stream."""
        try:
            chunk = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        room = self.limit - len(self.data)
        self.data += chunk[:room]
        self.dropped |= len(chunk) > room
        return bool(chunk)


class _Keeper:
    def __init__(
        self,
        runner_socket: socket.socket,
        examiner: Channel,
        limits: Limits,
        confinement: Confinement,
        run: Callable[[socket.socket, str], NoReturn],
    ) -> None:
        self._examiner = examiner
        self._limits = limits
        self._confinement = confinement
        self._captured = _Capture(limits.output)
        self._killed: str | None = None
        self._spent_before = 0.0
        self._budget = limits.start_seconds
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        confine.die_with_parent()
        confine.become_subreaper()
        self._user = _FIRST_USER + os.getpid() % _USERS if os.geteuid() == 0 and sys.platform == "linux" else None
        if confinement.namespaces:
            self._home = _PRIVATE_HOME
            confine.own_namespaces(privileged=self._user is not None)
        else:
            self._home = tempfile.mkdtemp(prefix="answer-")
            if self._user is not None:
                os.chown(self._home, self._user, self._user)
        self._output, write_end = os.pipe()
        ready, tell = os.pipe()
        self._runner = os.fork()
        if self._runner == 0:
            self._become_runner(runner_socket, write_end, tell, run)
        os.close(write_end)
        os.close(tell)
        os.set_blocking(self._output, False)
        runner_socket.close()
        with open(ready, "rb") as answer:
            said = answer.read()
        if said != _CONFINED:
            raise OSError(said.decode("utf-8", "replace") or "the process ended while it was set apart")

    def report(self) -> dict[str, Any]:
        """Watch until the runner ends or must be ended. Then end the rest, and say how it went."""
        status, used = self._watch()
        self._end_the_rest()
        while _readable(self._output) and self._captured.read(self._output):
            continue
        if not self._confinement.namespaces:
            _remove(self._home)
        return {
            "killed": self._killed,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            "cpu": used.ru_utime + used.ru_stime,
            "peak_memory": used.ru_maxrss * 1024,
            "printed": self._captured.data.decode("utf-8", "replace"),
            "dropped": self._captured.dropped,
        }

    def _watch(self) -> tuple[int, resource.struct_rusage]:
        with selectors.DefaultSelector() as selector:
            selector.register(self._examiner, selectors.EVENT_READ, self._obey)
            selector.register(self._output, selectors.EVENT_READ, None)
            if hasattr(os, "pidfd_open"):
                selector.register(os.pidfd_open(self._runner), selectors.EVENT_READ, None)
            next_look = time.monotonic() + _TICK
            while True:
                for key, _ in selector.select(max(0.0, next_look - time.monotonic())):
                    if key.fd == self._output and not self._captured.read(self._output):
                        selector.unregister(self._output)
                    elif key.data and not key.data():
                        selector.unregister(self._examiner)
                pid, status, used = os.wait4(self._runner, os.WNOHANG)
                if pid:
                    return status, used
                if time.monotonic() >= next_look:
                    self._look()
                    next_look = time.monotonic() + _TICK

    def _obey(self) -> bool:
        """Follow one order of the examiner: a new CPU budget. Where it is gone, end the runner."""
        try:
            self._budget = float(self._examiner.receive()["budget"])
        except (Closed, Garbled):
            self._kill("order")
            return False
        self._spent_before = self._used().cpu
        return True

    def _look(self) -> None:
        used = self._used()
        if used.processes > self._limits.processes:
            self._kill("processes")
        elif used.memory > self._limits.memory:
            self._kill("memory")
        elif used.cpu - self._spent_before > self._budget:
            self._kill("cpu")

    def _used(self) -> _Usage:
        usage = _Usage()
        # One more than allowed is enough to know: the tree of a fork flood grows faster than it can be read.
        pids = _tree(self._runner, at_most=self._limits.processes + 1)
        for pid in pids:
            _add(usage, pid)
        if usage.memory > self._limits.memory:
            # Pages shared since a fork were counted once per process: count each once.
            usage.memory = sum(map(_proportional_memory, pids))
        return usage

    def _kill(self, reason: str) -> None:
        self._killed = self._killed or reason
        _signal(self._runner, signal.SIGKILL)
        if not self._confinement.namespaces:
            _signal_group(self._runner)

    def _end_the_rest(self) -> None:
        """Kill what the runner left. A process namespace dies with its first process; elsewhere orphans come to us."""
        if not self._confinement.namespaces:
            _signal_group(self._runner)
        end_descendants()

    def _become_runner(
        self, runner_socket: socket.socket, output: int, tell: int, run: Callable[[socket.socket, str], NoReturn]
    ) -> NoReturn:
        try:
            os.setsid()
            namespaces, user = self._confinement.namespaces, self._user
            if namespaces:
                confine.own_file_systems(self._home, self._limits.disk)
            if user is not None:
                confine.become_user(user, reading=not namespaces)
            if namespaces:
                confine.give_up_namespaces(inside=user is None)
            confine.limit_tasks(self._limits.tasks, alone=namespaces or user is not None)
            # After the change of user, which clears it.
            confine.die_with_parent()
            confine.limit_resources(self._limits)
            os.write(tell, _CONFINED)
            runner_socket = _only_standard_files(runner_socket, output)
        except BaseException as error:
            os.write(tell, str(error).encode())
            os._exit(1)
        try:
            run(runner_socket, self._home)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)


def _only_standard_files(runner_socket: socket.socket, output: int) -> socket.socket:
    """Close every descriptor but a null standard input, the captured output, and the socket."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(runner_socket.detach(), _RUNNER_SOCKET)
    os.set_inheritable(_RUNNER_SOCKET, False)
    os.closerange(_RUNNER_SOCKET + 1, 4096)
    return socket.socket(fileno=_RUNNER_SOCKET)


def _tree(root: int, at_most: int = 1 << 16) -> list[int]:
    """A process and its descendants, as far as /proc tells (Linux); elsewhere the process alone."""
    found = [root]
    for pid in found:
        if len(found) >= at_most:
            return found[:at_most]
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for task in tasks:
            try:
                with open(f"/proc/{pid}/task/{task}/children") as file:
                    found += map(int, file.read().split())
            except OSError:
                continue
    return found


def _add(usage: _Usage, pid: int) -> None:
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return
    usage.processes += 1
    usage.memory += _kibibytes(f"/proc/{pid}/status", ("RssAnon:", "RssShmem:"))
    # utime, stime, and those of children that were waited for.
    usage.cpu += sum(int(ticks) for ticks in fields[11:15]) / _TICKS_PER_SECOND


def _proportional_memory(pid: int) -> int:
    return _kibibytes(f"/proc/{pid}/smaps_rollup", ("Pss_Anon:", "Pss_Shmem:"))


def _kibibytes(path: str, names: tuple[str, ...]) -> int:
    """The sum of some fields of a /proc file, in bytes."""
    try:
        with open(path) as file:
            return sum(int(line.split()[1]) << 10 for line in file if line.startswith(names))
    except OSError:
        return 0


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _signal_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _readable(descriptor: int) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(0))


def _remove(folder: str) -> None:
    """Remove a folder, whatever rights an answer left on what is in it."""

    def open_up(remove: Callable[[str], object], path: str, _: object) -> None:
        os.chmod(os.path.dirname(path), stat.S_IRWXU)
        if not os.path.islink(path):
            os.chmod(path, stat.S_IRWXU)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)

    try:
        shutil.rmtree(folder, onerror=open_up)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
