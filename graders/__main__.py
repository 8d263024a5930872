"""`python -m graders`: grade from the command line.

Exit 0: it was graded, whatever the score; 2: the request or the file is bad; 3: this machine or exercise cannot grade.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from graders.course import UnknownExercise, find
from graders.engine import (
    DEFAULT_ISOLATION,
    ISOLATIONS,
    BadAnswer,
    Engine,
    ExerciseBroken,
    IsolationUnavailable,
    Verdict,
    read_answer,
)
from graders.engine.classroom import register

BAD_REQUEST = 2
NOT_POSSIBLE = 3
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if hasattr(options, "run"):
            return int(options.run(options))
        exercise = find(options.exercise)
        answer = read_answer(options.file, exercise)
        with Engine(isolation=options.isolation) as engine:
            verdict = engine.grade(exercise, answer, seed=options.seed)
    except (UnknownExercise, BadAnswer) as error:
        print(error, file=sys.stderr)
        return BAD_REQUEST
    except (ExerciseBroken, IsolationUnavailable) as error:
        print(error, file=sys.stderr)
        return NOT_POSSIBLE
    except KeyboardInterrupt:
        return INTERRUPTED
    print(verdict.dumps() if options.json else as_text(verdict))
    return 0


def as_text(verdict: Verdict) -> str:
    """A table of the checks, then the card of each one that did not pass."""
    width = max(len(check.id) for check in verdict.checks)
    lines = [f"{verdict.exercise}: {verdict.score:g} of {verdict.max:g} points", ""]
    for check in verdict.checks:
        mark = "✓" if check.status == "passed" else "✗"
        lines.append(f"  {mark} {check.id:<{width}}  {check.points:>4g}/{check.max:<4g}{check.status}")
    lines += [f"  – {cell['id']:<{width}}  {'?':>4}/{cell['max']:<4g}graded by a person" for cell in verdict.manual]
    lines += [f"  ! {flag}" for flag in verdict.flags]
    lines += [f"\n{check.message}" for check in verdict.checks if check.message]
    lines += ["", f"isolation {verdict.isolation}, seed {verdict.seed}"]
    # What an answer wrote may hold half characters, which no terminal takes.
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode("utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m graders", description="Grade answers to the exercises of the course."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("grade", help="grade one answer", description="Grade one answer.")
    one.add_argument("exercise", metavar="EXERCISE", help="its number or slug, such as 17.2.1")
    one.add_argument("file", metavar="FILE", help="a submitted .ipynb, or a percent-format .py with solution cells")
    one.add_argument("--json", action="store_true", help="print the verdict as one JSON object")
    one.add_argument("--seed", type=int, help="replay a grading; without it, a secret seed is drawn")
    one.add_argument(
        "--isolation", choices=ISOLATIONS, default=DEFAULT_ISOLATION, help="how answers are set apart (%(default)s)"
    )
    register(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
