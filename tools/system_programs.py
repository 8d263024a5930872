"""The programs outside Python that tests run: where they are, and how to get the missing ones.

`python -m tools.system_programs` installs what is missing on Debian and Ubuntu where that needs no password; it never
fails for want of a program: the tests that need one say so by name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PROGRAMS", "Program", "find", "how_to_install", "install", "missing"]


@dataclass(frozen=True)
class Program:
    """One program: the `commands` that provide it, best first, and the packages that hold it."""

    commands: tuple[str, ...]
    debian: str
    homebrew: str | None = None


PROGRAMS = {
    "chromium": Program(
        ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser"), "chromium", "--cask chromium"
    ),
    "bwrap": Program(("bwrap",), "bubblewrap"),
    "prometheus": Program(("prometheus",), "prometheus", "prometheus"),
    "promtool": Program(("promtool",), "prometheus", "prometheus"),
    "alertmanager": Program(("prometheus-alertmanager", "alertmanager"), "prometheus-alertmanager", "alertmanager"),
}


def find(name: str) -> Path | None:
    """The path of the program, None where it is missing. Raises KeyError for a name that is not in PROGRAMS."""
    for command in PROGRAMS[name].commands:
        if found := shutil.which(command):
            return Path(found)
    return None


def missing() -> list[str]:
    """The names of the programs that this machine lacks."""
    return [name for name in PROGRAMS if find(name) is None]


def how_to_install(name: str) -> str:
    """The command that would help on this machine, for people to read."""
    program = PROGRAMS[name]
    if sys.platform == "darwin":
        return f"brew install {program.homebrew}" if program.homebrew else f"{name} exists on Linux only"
    return f"sudo apt-get install {program.debian}"


def install(names: list[str]) -> None:
    """Install what Debian or Ubuntu can give; say in one line what stays missing and why."""
    become = _right_to_install()
    if names and become is not None:
        packages = sorted({PROGRAMS[name].debian for name in names})
        print(f"Installing {', '.join(packages)} for the tests.", flush=True)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
            done = subprocess.run([*become, "apt-get", *arguments], env=quiet, capture_output=True, text=True)
            if done.returncode:
                last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
                print(f"apt-get {arguments[0]} failed: {last}")
    for name in missing():
        print(f"{name} is missing, so its tests are skipped: {how_to_install(name)}")


def _right_to_install() -> list[str] | None:
    """What to put before apt-get: nothing for root, sudo where it asks no password, None where there is no way."""
    if not Path("/etc/debian_version").exists() or shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n", "--preserve-env=DEBIAN_FRONTEND"]
    return None


if __name__ == "__main__":
    install(missing())
