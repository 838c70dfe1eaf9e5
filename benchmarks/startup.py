"""How long the command line takes to start, against importing what it is made of.

    python benchmarks/startup.py

Each command runs in turn with `python -c "import typer, rich"`; ratios are of medians.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REFERENCE = [sys.executable, "-c", "import typer, rich"]
COMMANDS = {
    "msakit --help": [sys.executable, "-m", "msakit", "--help"],
    "msakit components list": [sys.executable, "-m", "msakit", "components", "list"],
}
ROUNDS = 7


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in ("reference", *COMMANDS)}
    for _ in range(ROUNDS):
        times["reference"].append(seconds(REFERENCE))
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    reference = statistics.median(times.pop("reference"))
    print(f"import typer, rich: {reference:.3f} s")
    for name, measured in times.items():
        median = statistics.median(measured)
        print(f"{name}: {median:.3f} s, {median / reference:.2f} times")


if __name__ == "__main__":
    main()
