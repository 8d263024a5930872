"""How a fresh fork gives up everything it does not need, before it runs an answer. Linux calls through libc.

Each step either holds or raises OSError: a fork that could not be confined never reaches an answer.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import resource
import signal
import socket
import struct
import sys
from pathlib import Path

from graders.engine.limits import Limits

__all__ = [
    "become_subreaper",
    "become_user",
    "die_with_parent",
    "give_up_namespaces",
    "limit_resources",
    "limit_tasks",
    "own_file_systems",
    "own_namespaces",
]

_LIBC = ctypes.CDLL(None, use_errno=True)
_LINUX = sys.platform == "linux"

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_SET_CHILD_SUBREAPER = 1, 4, 8, 36
_CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def become_subreaper() -> None:
    """Orphans among the descendants become children of this process, and stay in reach. Nothing outside Linux."""
    if _LINUX:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """The kernel kills this process when its parent ends. Nothing outside Linux."""
    if _LINUX:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def own_namespaces(*, privileged: bool) -> None:
    """Move to namespaces of one's own: network, IPC, host name, and processes (from the next fork on).

    `privileged`: the process is root and needs no user namespace; otherwise it gets one, in which its user is the same.
    """
    kinds = _CLONE_NEWPID | _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS
    if privileged:
        _call("unshare", _LIBC.unshare(kinds))
    else:
        _own_user_namespace(kinds)


def own_file_systems(home: str, disk: int) -> None:
    """Mounts of one's own: an empty file system at `home` and /dev/shm (together `disk` bytes), and /proc.

    Call it in the first process of the new process namespace. Its parent goes on seeing /proc as it was.
    """
    _call("unshare", _LIBC.unshare(_CLONE_NEWNS))
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    # A course or an environment that is installed below `home` stays where it is.
    kept = {path: os.open(path, os.O_PATH) for path in _mounts_below(home)}
    _mount("tmpfs", home, "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={disk},nr_inodes=4096,mode=1777")
    for path, descriptor in kept.items():
        source, point = Path(f"/proc/self/fd/{descriptor}"), Path(path)
        if not point.exists():  # it does where an outer mount is back already
            point.parent.mkdir(parents=True, exist_ok=True)
            point.mkdir() if source.is_dir() else point.touch()
        _mount(str(source), path, None, _MS_BIND)
        os.close(descriptor)
    shared_memory = Path(home, ".shm")
    shared_memory.mkdir()
    shared_memory.chmod(0o1777)
    _mount(str(shared_memory), "/dev/shm", None, _MS_BIND)
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _loopback_up()


def _mounts_below(folder: str) -> list[str]:
    """Where something is mounted below `folder`, outer mounts first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    plain = [re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point) for point in points]
    return list(dict.fromkeys(point for point in plain if point.startswith(f"{folder}/")))


def become_user(user: int, *, reading: bool) -> None:
    """Leave root for good: become `user`, in no group. `reading`: what root can read stays readable."""
    os.setgroups([])
    os.setresgid(user, user, user)
    _prctl(_PR_SET_KEEPCAPS, int(reading))
    os.setresuid(user, user, user)
    _set_capabilities(1 << _CAP_DAC_READ_SEARCH if reading else 0)
    # The change of user cleared the flag that lets a process use its own /proc files.
    _prctl(_PR_SET_DUMPABLE, 1)


def give_up_namespaces(*, inside: bool) -> None:
    """Lose every capability, and the way to new ones: no namespace can be made within.

    `inside`: the process has a user namespace of its own already. If not, it gets one where the machine grants it.
    """
    if not inside:
        try:
            _own_user_namespace(0)
        except PermissionError:
            return
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    _set_capabilities(0)


def limit_resources(limits: Limits) -> None:
    """Set the kernel's limits on this process and its children, where the kernel has them."""
    cpu = int(limits.start_seconds + limits.answer_seconds) + 1
    # Private memory, not address space: a hundred idle threads reserve a gigabyte and use nothing of it.
    wanted = {
        "RLIMIT_DATA": limits.memory,
        "RLIMIT_AS": limits.memory * 8,
        "RLIMIT_FSIZE": limits.file_size,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": cpu,
    }
    for name, value in wanted.items():
        _, hard = resource.getrlimit(getattr(resource, name))
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(getattr(resource, name), (bound, bound))


def limit_tasks(tasks: int, *, alone: bool) -> None:
    """Bound processes and threads. The kernel counts those of a user (in a user namespace), and exempts root.

    `alone`: nobody else is this user; otherwise those that the user has already are allowed on top.
    """
    if hasattr(resource, "RLIMIT_NPROC"):
        bound = tasks if alone else tasks + _tasks_of(os.getuid())
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(resource.RLIMIT_NPROC, (bound, bound))


def _own_user_namespace(kinds: int) -> None:
    user, group = os.getuid(), os.getgid()
    _call("unshare", _LIBC.unshare(_CLONE_NEWUSER | kinds))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _set_capabilities(kept: int) -> None:
    """Keep these capabilities (a bit set) of those the process has, and no other."""
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    _call("capset", _LIBC.capset(header, struct.pack("<6I", kept, kept, 0, 0, 0, 0)))


def _tasks_of(user: int) -> int:
    """How many processes and threads a user has now, as far as /proc tells."""
    count = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if entry.stat().st_uid == user:
                count += len(os.listdir(entry / "task"))
        except OSError:
            continue
    return count


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    result = _LIBC.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    _call(f"mount {kind or source or ''} on {target}", result)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("16xH", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _prctl(option: int, value: int) -> None:
    _call("prctl", _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def _call(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
