"""Every worker takes its left device and then its right one, until each waits with one in hand: paired devices."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext

KIND = "deadlock"
SEATS = 3


def dine(waiter: AbstractContextManager[object]) -> None:
    forks = [threading.Lock() for _ in range(SEATS)]
    meals: list[int] = []

    def philosopher(seat: int) -> None:
        with waiter, forks[seat], forks[(seat + 1) % SEATS]:
            meals.append(seat)

    threads = [threading.Thread(target=philosopher, args=(seat,), name=f"philosopher {seat}") for seat in range(SEATS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(meals) == list(range(SEATS)), f"only {sorted(meals)} of {SEATS} philosophers ate"


def buggy() -> None:
    dine(nullcontext())


def fixed() -> None:
    dine(threading.Semaphore(SEATS - 1))
