"""Length-prefixed JSON over a socket. What is received is untrusted: capped in size, and parsed to plain types only.

Memory addresses in its texts (`<object at 0x…>`) are left out: they differ from run to run.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from typing import Any

__all__ = ["Channel", "Closed", "Garbled", "Late"]

_HEADER = struct.Struct("!I")
_CHUNK = 1 << 18
_ADDRESS = re.compile(r"(?:\b|(?<=\\[nrt]))at 0x[0-9a-fA-F]+")


class Closed(Exception):
    """The other side closed the connection."""


class Late(Exception):
    """No whole message came before the deadline."""


class Garbled(Exception):
    """The message is too large or no JSON. The text says which."""


class Channel:
    """One end of a connection. Not thread-safe."""

    def __init__(self, connection: socket.socket, *, limit: int) -> None:
        """`limit`: the largest message that is accepted, in bytes."""
        self._connection = connection
        self._limit = limit

    def fileno(self) -> int:
        return self._connection.fileno()

    def send(self, message: Any, *, deadline: float | None = None) -> None:
        """Send one message. `deadline` is an instant on `time.monotonic`. Raises Closed or Late."""
        data = json.dumps(message).encode("ascii")
        self._arm(deadline)
        try:
            self._connection.sendall(_HEADER.pack(len(data)) + data)
        except TimeoutError:
            raise Late from None
        except OSError:
            raise Closed from None

    def receive(self, *, deadline: float | None = None) -> Any:
        """The next message. `deadline` is an instant on `time.monotonic`. Raises Closed, Late or Garbled."""
        (size,) = _HEADER.unpack(self._read(_HEADER.size, deadline))
        if size > self._limit:
            raise Garbled(f"a message of {size:,} bytes, where {self._limit:,} are allowed")
        return _parsed(self._read(size, deadline))

    def finish(self) -> None:
        """Send no more: the other side reads the end of the stream, and may still answer."""
        try:
            self._connection.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        self._connection.close()

    def _read(self, size: int, deadline: float | None) -> bytes:
        data = bytearray()
        while len(data) < size:
            self._arm(deadline)
            try:
                chunk = self._connection.recv(min(size - len(data), _CHUNK))
            except TimeoutError:
                raise Late from None
            except OSError:
                raise Closed from None
            if not chunk:
                raise Closed
            data += chunk
        return bytes(data)

    def _arm(self, deadline: float | None) -> None:
        if deadline is None:
            self._connection.settimeout(None)
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise Late
        self._connection.settimeout(left)


def _parsed(data: bytes) -> Any:
    try:
        text = data.decode("utf-8")
        if "at 0x" in text:
            text = _ADDRESS.sub("at 0x…", text)
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"a message that is no JSON ({type(error).__name__})") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")
