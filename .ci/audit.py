"""Look every pinned package up in the OSV database of known vulnerabilities (`make audit`).

Exit code 0: none is known. 1: some are. 2: the database could not be asked, so nothing is known either way.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LISTS = ("constraints.txt", "requirements-models.txt", "requirements-media.txt")
DATABASE = "https://api.osv.dev/v1/querybatch"
TIMEOUT_S = 30
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;#+]+)", re.MULTILINE)


def read_pins() -> list[tuple[str, str]]:
    """Name and version of every pinned package; a local build's suffix ("+cpu") is left out."""
    text = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in LISTS)
    return sorted(set(_PIN.findall(text)))


def ask(pins: list[tuple[str, str]], database: str) -> dict[str, list[str]]:
    """Pinned package to the identifiers of its known vulnerabilities.

    Raises:
        OSError: The database cannot be reached.
        ValueError: It answers something else.
    """
    queries = [{"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in pins]
    request = urllib.request.Request(
        database, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        results: list[dict[str, Any]] = json.load(answer)["results"]
    found = zip(pins, results, strict=True)
    return {
        f"{n}=={v}": [item["id"] for item in result["vulns"]]
        for (n, v), result in found
        if result.get("vulns")
    }


def main() -> int:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", default=DATABASE, help="where to ask; default: %(default)s")
    database = parser.parse_args().database
    pins = read_pins()
    try:
        known = ask(pins, database)
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(
            f"{database} could not be asked ({error}), so nothing is known of {len(pins)} packages.\n"
        )
        return 2
    for package, identifiers in known.items():
        sys.stdout.write(f"{package}: {', '.join(identifiers)}\n")
    sys.stdout.write(f"{len(pins)} packages, {len(known)} of them with known vulnerabilities.\n")
    return 1 if known else 0


if __name__ == "__main__":
    raise SystemExit(main())
