"""Two transfers lock the same two accounts in opposite orders and wait for each other: row locks in any order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

KIND = "deadlock"


class Account:
    def __init__(self, number: int) -> None:
        self.number, self.balance = number, 100
        self.lock = threading.Lock()


def transfer(source: Account, target: Account, amount: int, first: Account, second: Account) -> None:
    with first.lock, second.lock:
        source.balance -= amount
        target.balance += amount


def cross(order: Callable[[Account, Account], Sequence[Account]]) -> None:
    a, b = Account(1), Account(2)
    threads = [
        threading.Thread(target=transfer, args=(source, target, 30, *order(source, target)))
        for source, target in ((a, b), (b, a))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (a.balance, b.balance) == (100, 100), f"equal transfers both ways left {a.balance} and {b.balance}"


def buggy() -> None:
    cross(lambda source, target: (source, target))


def fixed() -> None:
    cross(lambda source, target: sorted((source, target), key=lambda account: account.number))
