"""Two replicas race to settle one Future, each after looking at done(), and the slower one raises: hedged requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

KIND = "thread-exception"


def hedge(settle: Callable[[Future[str], str], None]) -> None:
    answer: Future[str] = Future()
    replicas = [threading.Thread(target=settle, args=(answer, name), name=name) for name in ("replica-1", "replica-2")]
    for replica in replicas:
        replica.start()
    assert answer.result().startswith("replica-"), "the answer came from no replica"
    for replica in replicas:
        replica.join()


def buggy() -> None:
    def settle(answer: Future[str], value: str) -> None:
        if not answer.done():
            answer.set_result(value)

    hedge(settle)


def fixed() -> None:
    lock = threading.Lock()

    def settle(answer: Future[str], value: str) -> None:
        with lock:
            if not answer.done():
                answer.set_result(value)

    hedge(settle)
