"""A course of one tiny exercise, for tests of the tools: real folders and formats, without the cost of a real one."""

from __future__ import annotations

import shutil
from pathlib import Path

from graders.course import COURSE_ROOT, Exercise

SOURCE = '''\
# %% [markdown] id="title"
# # 17.9.1 Doubling
#
# A solution that doubles.

# %% readonly="setup"
from types import SimpleNamespace


def _doubles(double):
    assert double(21) == 42


check = SimpleNamespace(doubles=_doubles)

# %% golden=true id="worked-case"
print({word for word in ("red", "green", "blue")}, 6 * 7)

# %% [markdown]
# Now you.

# %% solution="double"
def double(number: int) -> int:
    """Twice the number."""
    ### BEGIN SOLUTION
    secret_sum = number + number
    return secret_sum
    ### END SOLUTION

# %% test="doubles" points=2
check.doubles(double)

# %% [markdown] answer="why" points=1
# Why is that so?
#
# <!-- ### BEGIN SOLUTION -->
# Because addition is repeated doubling, backwards.
# <!-- ### END SOLUTION -->

# %% [markdown]
# Well done.
'''


def tiny_course(root: Path, source: str = SOURCE) -> Exercise:
    """Write the course below `root`; nothing is built yet."""
    exercise = Exercise("17.9.1-doubling", "17.9-doubling", root)
    exercise.source.parent.mkdir(parents=True)
    exercise.source.write_text(source, encoding="utf-8")
    shutil.copy(COURSE_ROOT / "nbgrader_config.py", root)
    return exercise
