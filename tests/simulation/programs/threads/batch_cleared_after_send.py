"""A batcher sends its list and then clears it, along with an event that came in between: telemetry buffers."""

from __future__ import annotations

from threading import Lock, Thread

KIND = "invariant"


class SendsThenClears:
    def __init__(self) -> None:
        self.lock = Lock()
        self.pending: list[str] = []
        self.sent: list[str] = []

    def add(self, event: str) -> None:
        with self.lock:
            self.pending.append(event)

    def flush(self) -> None:
        self.sent.extend(self.pending)
        self.pending.clear()


class SwapsThenSends(SendsThenClears):
    def flush(self) -> None:
        with self.lock:
            batch, self.pending = self.pending, []
        self.sent.extend(batch)


def flush_while_adding(batcher: SendsThenClears) -> None:
    batcher.add("login")
    producer = Thread(target=batcher.add, args=("purchase",), name="producer")
    producer.start()
    batcher.flush()
    producer.join()
    batcher.flush()
    assert batcher.sent == ["login", "purchase"], f"login and purchase were recorded and {batcher.sent} were sent"


def buggy() -> None:
    flush_while_adding(SendsThenClears())


def fixed() -> None:
    flush_while_adding(SwapsThenSends())
