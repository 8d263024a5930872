"""A histogram of the last 60 seconds: quantiles of what was recorded lately, within 1.6 %, at O(1) per record.

Invariant: a value lies in exactly one bucket of exactly one slot, and no bucket is wider than 1/32 of its lower bound.

Buckets are log-linear, as in HdrHistogram: each power of two is cut into 32 equal parts, so the middle of a bucket is
at most 1/64 away from anything in it. A bucket is found by bisection in a table of bounds: eleven comparisons in C, at
half the cost of taking a float apart in Python. Time is a ring of one-second slots, and a slot holds only the buckets
that it needs: memory follows what happens, not what could happen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from math import ceil, floor, inf, ldexp

__all__ = ["LARGEST", "RELATIVE_ERROR", "SMALLEST", "SlidingHistogram", "quantile"]

_PARTS = 32
_EXPONENTS = range(-30, 20)
_BOUNDS = [ldexp(1 + part / _PARTS, exponent) for exponent in _EXPONENTS for part in range(_PARTS)]

RELATIVE_ERROR = 0.5 / _PARTS
"""By how much a quantile may be off, as a fraction of the value that was recorded."""
SMALLEST, LARGEST = _BOUNDS[0], _BOUNDS[-1]
"""A value below the first counts as 0, one above the second as the second: in seconds, about 1 ns and 12 days."""

_Slot = tuple[float, dict[int, int]]  # the second that it holds, and its counts by bucket


class SlidingHistogram:
    """Counts values by size over the last `seconds` one-second slots: what is older than that is forgotten.

    A slot is forgotten as a whole, so a value is remembered for `seconds`, less up to one. `now` is monotonic seconds;
    a `now` before the latest one counts as the latest.

    One thread may record while any others read; nothing is locked. For several writers take a histogram each and ask
    `quantile` over all of them. Raises ValueError for fewer than 1 slot.
    """

    __slots__ = ("_counts", "_next_second", "_slots")

    def __init__(self, seconds: int = 60) -> None:
        if seconds < 1:
            raise ValueError(f"seconds counts slots: at least 1, not {seconds!r}")
        self._slots: list[_Slot] = [(-inf, {})] * seconds
        self._counts: dict[int, int] = {}  # the latest slot's
        self._next_second: float = -inf  # when it ends

    def record(self, value: float, now: float) -> None:
        """Count a value."""
        if now >= self._next_second:
            self._turn(floor(now))
        self._counts[bisect_right(_BOUNDS, value)] += 1

    def quantile(self, q: float, now: float) -> float | None:
        """The smallest value that at least a fraction `q` of the values do not exceed (nearest rank); None for none.

        Raises ValueError unless 0 <= q <= 1. Costs O(slots + buckets in use).
        """
        return quantile((self,), q, now)

    def count(self, now: float) -> int:
        """How many values there are."""
        return self.buckets(now).total()

    def buckets(self, now: float) -> Counter[int]:
        """The counts by bucket, in no order; the buckets of larger values have larger numbers."""
        oldest = floor(now) - len(self._slots)
        total: Counter[int] = Counter()
        for second, counts in self._slots:
            if second > oldest:
                total.update(counts.copy())  # copied in one step: its thread may be recording
        return total

    def _turn(self, second: int) -> None:
        self._counts = defaultdict(int)
        self._slots[second % len(self._slots)] = (second, self._counts)
        self._next_second = second + 1


def quantile(histograms: Iterable[SlidingHistogram], q: float, now: float) -> float | None:
    """The `q`-quantile of everything that `histograms` hold, as `SlidingHistogram.quantile`."""
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile is a fraction: 0 <= q <= 1, not {q!r}")
    total: Counter[int] = Counter()
    for histogram in histograms:
        total.update(histogram.buckets(now))
    if not total:
        return None
    rank = max(1, ceil(q * total.total() - 1e-9))  # 0.07 * 100 is a little more than 7
    for bucket in sorted(total):
        rank -= total[bucket]
        if rank <= 0:
            return _middle(bucket)
    raise AssertionError("ranks end at the number of values")


def _middle(bucket: int) -> float:
    """The value that stands for a bucket."""
    if bucket == 0:
        return 0.0
    return (_BOUNDS[bucket - 1] + _BOUNDS[min(bucket, len(_BOUNDS) - 1)]) / 2
