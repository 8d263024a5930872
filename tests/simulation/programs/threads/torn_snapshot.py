"""A metrics reader takes two fields without the writer's lock and divides a new sum by an old count: exporters."""

from __future__ import annotations

from threading import Lock, Thread

KIND = "invariant"


class TornLatency:
    def __init__(self) -> None:
        self.lock, self.total, self.count = Lock(), 2.0, 1

    def record(self, seconds: float) -> None:
        with self.lock:
            self.total += seconds
            self.count += 1

    def mean(self) -> float:
        return self.total / self.count


class WholeLatency(TornLatency):
    def mean(self) -> float:
        with self.lock:
            return self.total / self.count


def export(latency: TornLatency) -> None:
    writer = Thread(target=latency.record, args=(2.0,), name="request")
    writer.start()
    mean = latency.mean()
    writer.join()
    assert mean == 2.0, f"every request took 2 s and the exported mean is {mean} s"


def buggy() -> None:
    export(TornLatency())


def fixed() -> None:
    export(WholeLatency())
