"""An exception between acquire and release keeps the permit, and the next caller waits for ever: connection pools."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Event, Semaphore, Thread

KIND = "deadlock"


def leaky(permits: Semaphore, query: Callable[[], None]) -> None:
    permits.acquire()
    query()
    permits.release()


def tight(permits: Semaphore, query: Callable[[], None]) -> None:
    with permits:
        query()


def ride_out(client: Callable[[Semaphore, Callable[[], None]], None]) -> None:
    permits, outage, answered = Semaphore(1), Event(), []

    def query() -> None:
        if outage.is_set():
            raise ConnectionError("database is away")
        answered.append(True)

    def request() -> None:
        with suppress(ConnectionError):
            client(permits, query)

    early = Thread(target=request, name="early request")
    early.start()
    outage.set()
    outage.clear()
    request()
    early.join()
    assert answered, "no request was answered after the outage"


def buggy() -> None:
    ride_out(leaky)


def fixed() -> None:
    ride_out(tight)
