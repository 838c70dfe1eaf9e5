"""Run every attack and print the table: `python -m benchmarks.attack`."""

from __future__ import annotations

import argparse
import tempfile
from importlib import import_module
from pathlib import Path

from benchmarks.attack.tally import Family, print_header, print_row

MODULES = (
    "store_kills",
    "store_starvation",
    "store_damage",
    "hostile_files",
    "command_lines",
)


def families() -> list[Family]:
    """Every family of attacks."""
    return [item for name in MODULES for item in import_module(f"benchmarks.attack.{name}").FAMILIES]


def main() -> int:
    """Run the families asked for; 1 when one attack got through, or a family made none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="families whose name contains this")
    parser.add_argument("--short", action="store_true", help="as few attacks as the quick tests make")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    clean = True
    print_header()
    for family in families():
        trials = family.short if given.short else family.full
        if given.only in family.name and trials:
            with tempfile.TemporaryDirectory(prefix="msakit-attack-") as folder:
                tally = family.run(Path(folder), trials, given.seed)
            print_row(family.name, tally)
            clean &= tally.clean and tally.tried > 0
    return 0 if clean else 1


if __name__ == "__main__":
    raise SystemExit(main())
