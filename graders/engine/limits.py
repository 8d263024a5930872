"""What one answer may use. Every limit is one field; sizes are bytes, times are seconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["DEFAULT_LIMITS", "Limits"]

_MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """The limits of one answer's process tree.

    The times are CPU seconds of the answer's own processes, so that a busy machine harms nobody. An answer that waits
    for ever is stopped by the wall clock, at `wall_factor` times the CPU limit.
    """

    memory: int = 1024 * _MIB
    """Private memory of all its processes together."""
    processes: int = 64
    tasks: int = 512
    """Processes and threads together."""
    file_size: int = 64 * _MIB
    disk: int = 128 * _MIB
    """All its temporary files together, where the isolation gives it a private file system."""
    output: int = 1 * _MIB
    """Kept of what it prints; the rest is dropped and nothing else happens."""
    open_files: int = 512
    start_seconds: float = 10.0
    """The set-up cells and the solution cells."""
    check_seconds: float = 10.0
    answer_seconds: float = 30.0
    wall_factor: float = 5.0

    def as_json(self) -> dict[str, float]:
        return asdict(self)


DEFAULT_LIMITS = Limits()
