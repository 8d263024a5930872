"""A publisher calls its subscribers under its own RLock, while one of them unsubscribes under its own: event buses."""

from __future__ import annotations

import threading

KIND = "deadlock"


class CallsUnderLock:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.subscribers: list[Session] = []

    def unsubscribe(self, subscriber: Session) -> None:
        with self.lock:
            self.subscribers.remove(subscriber)

    def publish(self, event: str) -> None:
        with self.lock:
            for subscriber in list(self.subscribers):
                subscriber.receive(event)


class CallsOutside(CallsUnderLock):
    def publish(self, event: str) -> None:
        with self.lock:
            subscribers = list(self.subscribers)
        for subscriber in subscribers:
            subscriber.receive(event)


class Session:
    def __init__(self, bus: CallsUnderLock) -> None:
        self.bus, self.lock = bus, threading.RLock()
        self.seen: list[str] = []
        bus.subscribers.append(self)

    def receive(self, event: str) -> None:
        with self.lock:
            self.seen.append(event)

    def close(self) -> None:
        with self.lock:
            self.bus.unsubscribe(self)


def close_during_publish(bus: CallsUnderLock) -> None:
    session = Session(bus)
    closer = threading.Thread(target=session.close, name="closer")
    closer.start()
    bus.publish("price")
    closer.join()
    assert bus.subscribers == [], "a closed session is still subscribed"


def buggy() -> None:
    close_during_publish(CallsUnderLock())


def fixed() -> None:
    close_during_publish(CallsOutside())
