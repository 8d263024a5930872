"""`python -m tests.bench [--quick] [name …]`: print the tables of every bench_*.py here, or of those named.

A bench module defines `tables(quick: bool)`, which yields its tables as they are measured.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from tests.bench.harness import machine, render

_PREFIX = "bench_"


def main(arguments: list[str] | None = None) -> int:
    names = sorted(path.stem.removeprefix(_PREFIX) for path in Path(__file__).parent.glob(f"{_PREFIX}*.py"))
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure primitives beside their peers.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of: {', '.join(names)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean nothing")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; choose from {', '.join(names)}")
    if options.quick:
        print("A quick run: everything runs, and the figures mean nothing.")
    else:
        print(f"{machine()}. Figures are minima over alternating rounds of one run; read the ratios first.")
    for name in options.names or names:
        try:
            module = importlib.import_module(f"tests.bench.{_PREFIX}{name}")
        except ModuleNotFoundError as missing:
            print(
                f"{name}: {missing.name} is not installed. The peers come with: pip install -e '.[bench]'",
                file=sys.stderr,
            )
            return 1
        for table in module.tables(options.quick):
            print(f"\n{render(table)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
