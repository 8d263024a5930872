"""A small shop that hangs for real, in a process of its own: material for a diagnosis without a restart.

    with HungProcess() as shop:
        print(shop.lock_dump())     # SIGUSR1: the course's handler
        print(shop.stack_dump())    # SIGUSR2: faulthandler

`python -m shared.observability.hung_process` runs the shop alone. Invariant: the process lives as long as its standard
input is open, so it never outlives whoever started it; and it says `hung` only when the cycle of waits is closed.

POSIX only: it is dumped by signals.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import IO

from shared.observability import thread_dump
from shared.observability.thread_dump import NamedLock

__all__ = ["HungProcess", "PySpyRefused"]

_PATIENCE = 30.0
_ANYBODY = -1
_PR_SET_PTRACER = 0x59616D61


class PySpyRefused(Exception):
    """py-spy is not installed, or the system does not let it look into another process; the message says which."""


class HungProcess:
    """The shop in a process of its own, hung. A context manager; the process has ended when the block is left.

    Raises TimeoutError when the process does not answer within 30 s.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            self._read_until(self._process.stdout, b"hung\n")
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def lock_dump(self) -> str:
        """What the course's handler prints on SIGUSR1."""
        self._process.send_signal(signal.SIGUSR1)
        end = f"{thread_dump.END}\n".encode()
        return self._read_until(self._process.stderr, end).removesuffix(end).decode()

    def stack_dump(self) -> str:
        """What faulthandler prints on SIGUSR2."""
        self._process.send_signal(signal.SIGUSR2)
        # The main thread comes last, and this is its outermost frame.
        return self._read_until(self._process.stderr, b"in _run_module_as_main\n").decode()

    def py_spy_dump(self) -> str:
        """What `py-spy dump` prints. Raises PySpyRefused."""
        program = shutil.which("py-spy", path=f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}")
        if program is None:
            raise PySpyRefused("py-spy is not installed: pip install py-spy")
        done = subprocess.run(
            [program, "dump", "--pid", str(self.pid)], capture_output=True, text=True, timeout=_PATIENCE
        )
        if done.returncode:
            raise PySpyRefused(f"py-spy may not look into process {self.pid}: {done.stderr.strip()}")
        return done.stdout

    def close(self) -> None:
        """End the process. Closing twice is fine."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> HungProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_until(self, stream: IO[bytes] | None, end: bytes) -> bytes:
        assert stream is not None
        text = b""
        while not text.endswith(end):
            if not select.select([stream], [], [], _PATIENCE)[0]:
                raise TimeoutError(f"process {self.pid} said nothing for {_PATIENCE:.0f} s")
            if not (more := os.read(stream.fileno(), 65536)):
                raise RuntimeError(f"process {self.pid} ended before it had said all")
            text += more
        return text


class DB:
    """The incident's table. It tells its cache of an update while it holds its own lock: that is the mistake."""

    def __init__(self, rows: dict[str, int]) -> None:
        self.rows = rows
        self.lock = NamedLock("DB.lock")
        self.cache: Cache | None = None
        self.both_hold_one = threading.Barrier(2)

    def query(self, key: str) -> int | None:
        with self.lock:
            return self.rows.get(key)

    def update(self, key: str, value: int) -> None:
        with self.lock:
            self.rows[key] = value
            self.both_hold_one.wait()
            assert self.cache is not None
            self.cache.set(key, value)


class Cache:
    """The incident's cache. It asks the table while it holds its own lock: that is the other half."""

    def __init__(self, db: DB) -> None:
        self.db = db
        self.entries: dict[str, int | None] = {}
        self.lock = NamedLock("Cache.lock")
        db.cache = self

    def get(self, key: str) -> int | None:
        with self.lock:
            if key not in self.entries:
                self.db.both_hold_one.wait()
                self.entries[key] = self.db.query(key)
            return self.entries[key]

    def set(self, key: str, value: int) -> None:
        with self.lock:
            self.entries[key] = value


def _hang() -> None:
    """Close the cycle, let one more request run into it, say so, and wait for the end of standard input."""
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    thread_dump.install()
    _let_debuggers_in()
    db = DB({"price": 10})
    cache = Cache(db)

    def serve() -> None:
        cache.get("price")

    def import_prices() -> None:
        db.update("price", 12)

    threads = [threading.Thread(target=serve, daemon=True), threading.Thread(target=import_prices, daemon=True)]
    threads += [threading.Thread(target=threading.Event().wait, name="metrics (idle)", daemon=True)]
    for thread in threads:
        thread.start()
    _wait_for_waiters(2)
    threading.Thread(target=serve, daemon=True).start()
    _wait_for_waiters(3)
    print("hung", flush=True)
    sys.stdin.buffer.read()
    os._exit(0)


def _wait_for_waiters(number: int) -> None:
    while thread_dump.dump_threads().count("- waiting to lock") < number:
        time.sleep(0.001)


def _let_debuggers_in() -> None:
    """Linux with Yama lets only a parent trace a process, and py-spy is a sister: allow any process of this user."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_long(_ANYBODY), 0, 0, 0)


if __name__ == "__main__":
    _hang()
