"""What a learner reads where a picture needs a part that is not written yet: one sentence, and no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["needs"]


@contextmanager
def needs(part: str) -> Iterator[None]:
    """Run `part`, the learner's, inside; where it raises NotImplementedError, raise one that says what to do.

    A notebook shows its sentence alone: the simulation's frames tell a learner nothing.
    """
    try:
        yield
    except NotImplementedError as raised:
        said = f" ({raised})" if str(raised) else ""
        words = f"{part} is not written yet{said}. Fill in the solution cell, run it, then run this cell again."
        error = NotImplementedError(words)
        error._render_traceback_ = lambda: [f"NotImplementedError: {words}"]  # type: ignore[attr-defined]
        raise error from None
