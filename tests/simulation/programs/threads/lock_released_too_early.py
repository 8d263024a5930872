"""The balance is read under the lock and written under the lock, but not under one hold of it: wallets and quotas."""

from __future__ import annotations

import threading

KIND = "invariant"


class TwoHolds:
    def __init__(self) -> None:
        self.lock, self.balance = threading.Lock(), 100
        self.paid: list[int] = []

    def withdraw(self, amount: int) -> None:
        with self.lock:
            left = self.balance - amount
        if left >= 0:
            with self.lock:
                self.balance = left
            self.paid.append(amount)


class OneHold(TwoHolds):
    def withdraw(self, amount: int) -> None:
        with self.lock:
            if self.balance < amount:
                return
            self.balance -= amount
        self.paid.append(amount)


def spend(wallet: TwoHolds) -> None:
    threads = [threading.Thread(target=wallet.withdraw, args=(60,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(wallet.paid) <= 100, f"a wallet of 100 paid out {sum(wallet.paid)}"


def buggy() -> None:
    spend(TwoHolds())


def fixed() -> None:
    spend(OneHold())
