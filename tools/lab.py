"""Opens JupyterLab on the course: on 127.0.0.1, with the course's own settings and this environment first on PATH."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

__all__ = ["lab_environment", "main"]

ROOT = Path(__file__).resolve().parent.parent
PORT = 8888


def lab_environment(inherited: dict[str, str], root: Path = ROOT) -> dict[str, str]:
    """The variables that JupyterLab and its kernels run with; `nbgrader` calls `alembic` by name, hence PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)])
    settings = [str(root / "tools" / "jupyter"), *filter(None, [inherited.get("JUPYTER_CONFIG_PATH")])]
    storage = str(root / "build" / "hypothesis")
    env = {
        **inherited,
        "PATH": path,
        "JUPYTER_CONFIG_PATH": os.pathsep.join(settings),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": storage,
    }
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return env


def main(arguments: list[str]) -> None:
    """Replace this process by JupyterLab, so that Ctrl-C and signals reach it and nothing is left behind.

    `PORT` in the environment chooses the port; `arguments` go to `jupyter lab` as they are.
    """
    port = _port(os.environ.get("PORT", ""))
    _refuse_taken(port)
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.port={port}", *arguments]
    if os.geteuid() == 0:
        command.append("--allow-root")
    (ROOT / "build" / "exchange").mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    os.execve(sys.executable, command, lab_environment(dict(os.environ)))


def _port(text: str) -> int:
    if not text:
        return PORT
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        sys.exit(f"PORT={text} is not a port: give a number from 1 to 65535.")
    return int(text)


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            sys.exit(f"You may not open port {port} on this machine; choose one above 1023: make lab PORT={PORT}.")
        except OSError:
            sys.exit(
                f"Port {port} is taken, perhaps by a JupyterLab that still runs; stop it, "
                f"or choose another: make lab PORT={port + 1}."
            )


if __name__ == "__main__":
    main(sys.argv[1:])
