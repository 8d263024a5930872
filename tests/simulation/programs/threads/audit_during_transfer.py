"""An audit adds up the accounts one by one while a transfer is between two of them: reports over live rows."""

from __future__ import annotations

from contextlib import ExitStack
from threading import Lock, Thread

KIND = "invariant"


def audit_while_moving(whole: bool) -> None:
    balances, locks = [100, 100], [Lock(), Lock()]

    def transfer() -> None:
        with locks[0], locks[1]:
            balances[0] -= 30
            balances[1] += 30

    def audit() -> int:
        if whole:
            with ExitStack() as held:
                for lock in locks:
                    held.enter_context(lock)
                return sum(balances)
        total = 0
        for lock, account in zip(locks, (0, 1), strict=True):
            with lock:
                total += balances[account]
        return total

    mover = Thread(target=transfer, name="transfer")
    mover.start()
    total = audit()
    mover.join()
    assert total == 200, f"the accounts hold 200 and the audit says {total}"


def buggy() -> None:
    audit_while_moving(whole=False)


def fixed() -> None:
    audit_while_moving(whole=True)
