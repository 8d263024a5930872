"""What a learner reads where a picture needs a part that is not written yet: one sentence, and no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["needs"]


class _NotWritten(NotImplementedError):
    """A notebook shows its sentence alone: the simulation's frames tell a learner nothing."""

    def _render_traceback_(self) -> list[str]:
        return [f"NotImplementedError: {self}"]


@contextmanager
def needs(part: str) -> Iterator[None]:
    """Run `part`, the learner's, inside; where it raises NotImplementedError, raise one that says what to do."""
    try:
        yield
    except NotImplementedError as error:
        said = f" ({error})" if str(error) else ""
        raise _NotWritten(
            f"{part} is not written yet{said}. Fill in the solution cell, run it, then run this cell again."
        ) from None
