"""Makes the course's environment from requirements.txt; `.venv` carries its stamp only once everything is installed.

Runs on a bare Python 3.11, so it imports the standard library alone; the Makefile calls it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / "build" / "setup.log"
STAMP = "course-stamp.txt"
PACKAGES = ("shared", "graders", "tools")


class SetUpFailed(Exception):
    """The environment could not be made; the message is one sentence for the person at the terminal."""


def main(environment: Path) -> None:
    """Install the pinned packages and the project into `environment`, or do nothing where that was done before."""
    stamp = environment / STAMP
    wanted = _fingerprint()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    stamp.unlink(missing_ok=True)
    _make(environment)
    python = environment / "bin" / "python"
    print("Installing the pinned packages into .venv: one to three minutes, once.", flush=True)
    _pip(python, "--compile", "-r", str(ROOT / "requirements.txt"))
    _pip(python, "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    _compile(python)
    stamp.write_text(wanted)


def _fingerprint() -> str:
    """Changes when the pins, the project's own description, its place or the interpreter do."""
    digest = hashlib.sha256(f"{ROOT} {sys.version_info[:2]}".encode())
    for name in ("requirements.txt", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest() + "\n"


def _make(environment: Path) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise SetUpFailed(
            "Python's venv module is incomplete on this machine; on Debian or Ubuntu, "
            f"run apt-get install python{version}-venv."
        )
    python = environment / "bin" / "python"
    if _version(python) != _version(Path(sys.executable)):
        shutil.rmtree(environment, ignore_errors=True)
    if not python.exists():
        made = subprocess.run([sys.executable, "-m", "venv", environment], capture_output=True, text=True)
        if made.returncode:
            raise SetUpFailed(f"Python could not make {environment}: {_last_line(made.stdout + made.stderr)}")


def _version(python: Path) -> str | None:
    """`3.11` for a Python that runs, else None (a moved or half-made environment)."""
    try:
        asked = [str(python), "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _pip(python: Path, *arguments: str) -> None:
    """Run `pip install`; its whole output goes to the log, so that a failure can be told in one sentence."""
    LOG.parent.mkdir(exist_ok=True)
    # Bytecode is what makes nbgrader start in 2 s instead of 4: a caller's wish to write none must not reach pip.
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with LOG.open("w") as log:
        code = subprocess.run(
            [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=inherited,
        ).returncode
    if code:
        output = LOG.read_text(errors="replace")
        unreachable = any(
            words in output
            for words in ("NewConnectionError", "NameResolutionError", "name resolution", "timed out", "ProxyError")
        )
        if unreachable:
            raise SetUpFailed(
                f"pip cannot reach the package index: check the network or pip's settings, then run make again ({LOG})."
            )
        raise SetUpFailed(f"pip could not install the pinned packages: {_last_line(output)} (all of it: {LOG})")


def _compile(python: Path) -> None:
    """Compile the course's own packages; one that does not compile is told by whoever imports it."""
    subprocess.run([python, "-m", "compileall", "-q", *PACKAGES], cwd=ROOT, stdout=subprocess.DEVNULL)


def _last_line(output: str) -> str:
    """The line that says most: the last one that pip marks as an error, else the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["no output"])[-1]


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]).absolute())
    except SetUpFailed as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit("Stopped. Run make again to go on.")
